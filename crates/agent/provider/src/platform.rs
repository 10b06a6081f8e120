//! Where payments are taken, as the operator names it (spec 60 §1.3).

use golem_model::payment::{Network, PaymentPlatform};

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` is no payment network\n\
     hint: a network (mainnet, polygon, hoodi, holesky, sepolia, amoy) or a platform such as `erc20-hoodi-tglm`"
)]
pub(crate) struct ParsePlatformError(String);

/// A network, whose driver is `erc20` and whose token is its default one, or a whole platform.
pub(crate) fn parse(text: &str) -> Result<PaymentPlatform, ParsePlatformError> {
    let lower = text.trim().to_ascii_lowercase();
    let network = || lower.parse::<Network>().map(Network::platform);
    let platform = || lower.parse::<PaymentPlatform>().map_err(|_| ParsePlatformError(text.to_owned()));
    network().or_else(|_| platform())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_and_platforms() {
        for (text, expected) in [
            ("mainnet", Some("erc20-mainnet-glm")),
            ("hoodi", Some("erc20-hoodi-tglm")),
            ("erc20-polygon-glm", Some("erc20-polygon-glm")),
            ("ERC20-hoodi-tGLM", Some("erc20-hoodi-tglm")),
            ("moonnet", None),
            ("a.b-c-d", None),
            ("--", None),
            ("", None),
        ] {
            assert_eq!(parse(text).ok().map(|platform| platform.to_string()).as_deref(), expected, "{text}");
        }
    }
}
