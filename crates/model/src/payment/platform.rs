//! Payment platforms and the networks of the erc20 driver (spec 40 §2.1, 42 §2.1).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `<driver>-<network>-<token>`, all lower case, or `dummy-glm`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PaymentPlatform(String);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("paymentPlatform must be of the form driver-network-token instead of {0}")]
pub struct ParsePlatformError(String);

impl PaymentPlatform {
    pub fn new(driver: &str, network: &str, token: &str) -> Self {
        Self(format!("{driver}-{network}-{token}").to_ascii_lowercase())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn driver(&self) -> &str {
        self.part(0)
    }

    /// Empty for the dummy driver.
    pub fn network(&self) -> &str {
        match self.0.split('-').count() {
            3 => self.part(1),
            _ => "",
        }
    }

    /// In lower case.
    pub fn token(&self) -> &str {
        self.0.rsplit('-').next().unwrap_or_default()
    }

    fn part(&self, index: usize) -> &str {
        self.0.split('-').nth(index).unwrap_or_default()
    }
}

impl FromStr for PaymentPlatform {
    type Err = ParsePlatformError;

    fn from_str(text: &str) -> Result<Self, ParsePlatformError> {
        let parts = text.split('-').count();
        let plain = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        if (2..=3).contains(&parts) && text.split('-').all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParsePlatformError(text.chars().take(100).collect()))
        }
    }
}

impl fmt::Display for PaymentPlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for PaymentPlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for PaymentPlatform {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for PaymentPlatform {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A blockchain that payments may run on. Rinkeby, goerli and mumbai are dead and only recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Network {
    Mainnet,
    Rinkeby,
    Goerli,
    Sepolia,
    Holesky,
    Hoodi,
    Polygon,
    Mumbai,
    Amoy,
}

impl Network {
    pub const ALL: [Self; 9] = [
        Self::Mainnet,
        Self::Rinkeby,
        Self::Goerli,
        Self::Sepolia,
        Self::Holesky,
        Self::Hoodi,
        Self::Polygon,
        Self::Mumbai,
        Self::Amoy,
    ];

    /// Lower-case name, as in platforms and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mainnet => "mainnet",
            Self::Rinkeby => "rinkeby",
            Self::Goerli => "goerli",
            Self::Sepolia => "sepolia",
            Self::Holesky => "holesky",
            Self::Hoodi => "hoodi",
            Self::Polygon => "polygon",
            Self::Mumbai => "mumbai",
            Self::Amoy => "amoy",
        }
    }

    pub const fn chain_id(self) -> u64 {
        match self {
            Self::Mainnet => 1,
            Self::Rinkeby => 4,
            Self::Goerli => 5,
            Self::Sepolia => 11_155_111,
            Self::Holesky => 17_000,
            Self::Hoodi => 560_048,
            Self::Polygon => 137,
            Self::Mumbai => 80_001,
            Self::Amoy => 80_002,
        }
    }

    /// Whether its tokens are worth nothing.
    pub const fn is_test(self) -> bool {
        !matches!(self, Self::Mainnet | Self::Polygon)
    }

    /// Name of the token as account lists show it.
    pub const fn token(self) -> &'static str {
        if self.is_test() { "tGLM" } else { "GLM" }
    }

    pub fn platform(self) -> PaymentPlatform {
        PaymentPlatform::new("erc20", self.name(), self.token())
    }
}

impl FromStr for Network {
    type Err = ParsePlatformError;

    fn from_str(text: &str) -> Result<Self, ParsePlatformError> {
        Self::ALL
            .into_iter()
            .find(|network| network.name() == text)
            .ok_or_else(|| ParsePlatformError(text.chars().take(100).collect()))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_names_driver_network_and_token() {
        let platform = Network::Hoodi.platform();
        assert_eq!(platform.as_str(), "erc20-hoodi-tglm");
        assert_eq!((platform.driver(), platform.network(), platform.token()), ("erc20", "hoodi", "tglm"));
        let dummy: PaymentPlatform = "dummy-glm".parse().unwrap();
        assert_eq!((dummy.driver(), dummy.network(), dummy.token()), ("dummy", "", "glm"));
        for refused in ["", "erc20", "erc20--glm", "erc20-Hoodi-tglm", "a-b-c-d", "erc20-hoodi-tglm "] {
            assert!(refused.parse::<PaymentPlatform>().is_err(), "{refused}");
        }
    }
}
