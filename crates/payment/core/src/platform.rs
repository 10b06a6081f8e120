//! Which platform a new allocation means (spec 41 §3.2).

use golem_model::payment::{Network, PaymentPlatform, PlatformChoice};

/// Where nothing is said: the test network that lives.
const DEFAULT_NETWORK: Network = Network::Hoodi;
const DRIVER: &str = "erc20";

/// Why a wish cannot be met, in the words that tools know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    #[error("Validate driver failed ({stage}): Invalid driver name {name}")]
    Driver { stage: u8, name: String },
    #[error("Validate network failed ({stage}): Invalid network name: {name}")]
    Network { stage: u8, name: String },
    #[error(
        "Validate token failed ({stage}): Token {token} does not match expected token {expected} for driver {DRIVER} \
         and network {network}. Note that for test networks expected token name is tglm and for production networks \
         it is glm"
    )]
    Token { stage: u8, token: String, expected: String, network: Network },
    #[error("Validate token failed ({stage}): Unknown token {token}. Known are glm and tglm")]
    UnknownToken { stage: u8, token: String },
    #[error("paymentPlatform must be of the form driver-network-token instead of {0}")]
    Form(String),
}

/// Longest piece of a client's text that an error repeats.
const QUOTED_MAX: usize = 100;

fn quoted(text: &str) -> String {
    text.chars().take(QUOTED_MAX).collect()
}

/// The platform that `choice` names, or the usual one of its network or token. `other_drivers` are drivers beside
/// erc20 that are registered here; their platforms are taken as they are named.
pub fn choose(choice: Option<&PlatformChoice>, other_drivers: &[String]) -> Result<PaymentPlatform, ChoiceError> {
    match choice {
        None => Ok(DEFAULT_NETWORK.platform()),
        Some(PlatformChoice::Name(name)) => named(name, other_drivers),
        Some(PlatformChoice::Parts { driver, network, token }) => {
            parts(driver.as_deref(), network.as_deref(), token.as_deref())
        }
    }
}

fn named(name: &str, other_drivers: &[String]) -> Result<PaymentPlatform, ChoiceError> {
    let stage = 2;
    let parts: Vec<_> = name.split('-').collect();
    if let (Some(driver), Ok(platform)) = (parts.first(), name.parse())
        && other_drivers.iter().any(|other| other == driver)
    {
        return Ok(platform);
    }
    let [driver, network, token] = parts[..] else { return Err(ChoiceError::Form(quoted(name))) };
    check_driver(driver, stage)?;
    let network = check_network(network, stage)?;
    check_token(token, network, stage)?;
    Ok(network.platform())
}

fn parts(driver: Option<&str>, network: Option<&str>, token: Option<&str>) -> Result<PaymentPlatform, ChoiceError> {
    let stage = 1;
    if let Some(driver) = driver {
        check_driver(driver, stage)?;
    }
    let network = match (network, token) {
        (Some(network), _) => check_network(network, stage)?,
        (None, None | Some("tglm")) => DEFAULT_NETWORK,
        (None, Some("glm")) => Network::Polygon,
        (None, Some(token)) => return Err(ChoiceError::UnknownToken { stage, token: quoted(token) }),
    };
    if let Some(token) = token {
        check_token(token, network, stage)?;
    }
    Ok(network.platform())
}

fn check_driver(driver: &str, stage: u8) -> Result<(), ChoiceError> {
    if driver == DRIVER { Ok(()) } else { Err(ChoiceError::Driver { stage, name: quoted(driver) }) }
}

fn check_network(network: &str, stage: u8) -> Result<Network, ChoiceError> {
    match network.parse() {
        Ok(network) if network != Network::Rinkeby => Ok(network),
        _ => Err(ChoiceError::Network { stage, name: quoted(network) }),
    }
}

fn check_token(token: &str, network: Network, stage: u8) -> Result<(), ChoiceError> {
    let expected = network.token().to_ascii_lowercase();
    if token == expected { Ok(()) } else { Err(ChoiceError::Token { stage, token: quoted(token), expected, network }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: &str) {
        let choice: Option<PlatformChoice> = serde_json::from_str(json).unwrap();
        let got = match choose(choice.as_ref(), &["dummy".to_owned()]) {
            Ok(platform) => platform.to_string(),
            Err(error) => error.to_string(),
        };
        assert!(got.starts_with(expected), "{json}: {got}");
    }

    #[test]
    fn a_wish_becomes_a_platform_or_a_reason() {
        check("null", "erc20-hoodi-tglm");
        check("{}", "erc20-hoodi-tglm");
        check(r#"{"network":"holesky"}"#, "erc20-holesky-tglm");
        check(r#"{"token":"glm"}"#, "erc20-polygon-glm");
        check(r#"{"token":"tglm"}"#, "erc20-hoodi-tglm");
        check(r#"{"driver":"erc20","network":"polygon","token":"glm"}"#, "erc20-polygon-glm");
        check(r#""erc20-hoodi-tglm""#, "erc20-hoodi-tglm");
        check(r#""dummy-glm""#, "dummy-glm");
        check(r#"{"driver":"foo"}"#, "Validate driver failed (1): Invalid driver name foo");
        check(r#"{"network":"foo"}"#, "Validate network failed (1): Invalid network name: foo");
        check(r#"{"network":"rinkeby"}"#, "Validate network failed (1): Invalid network name: rinkeby");
        check(r#"{"network":"Hoodi"}"#, "Validate network failed (1): Invalid network name: Hoodi");
        check(r#"{"token":"GLM"}"#, "Validate token failed (1): Unknown token GLM");
        check(
            r#""erc20-hoodi-foo""#,
            "Validate token failed (2): Token foo does not match expected token tglm for driver erc20",
        );
        check(r#""erc20""#, "paymentPlatform must be of the form driver-network-token instead of erc20");
    }
}
