//! `globals.json`: who the node is (spec 60 §2.1).

use std::path::Path;

use golem_model::NodeId;
use serde::{Deserialize, Deserializer, Serialize};

use super::files::{self, FileError};

pub(crate) const FILE: &str = "globals.json";
/// Subnet of a node that was told nothing.
pub(crate) const DEFAULT_SUBNET: &str = "public";

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Globals {
    #[serde(default)]
    pub(crate) node_name: Option<String>,
    #[serde(default)]
    pub(crate) subnet: Option<String>,
    #[serde(default, deserialize_with = "account")]
    pub(crate) account: Option<NodeId>,
}

/// The old form of an account named its platform, too.
#[derive(Deserialize)]
#[serde(untagged)]
enum AccountForm {
    Address(NodeId),
    WithPlatform { address: NodeId },
}

fn account<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<NodeId>, D::Error> {
    Ok(Option::<AccountForm>::deserialize(deserializer)?.map(|form| match form {
        AccountForm::Address(address) | AccountForm::WithPlatform { address } => address,
    }))
}

impl Globals {
    pub(crate) fn load(data_dir: &Path) -> Result<Self, FileError> {
        Ok(files::load(&data_dir.join(FILE))?.unwrap_or_default())
    }

    pub(crate) fn save(&self, data_dir: &Path) -> Result<(), FileError> {
        files::save(&data_dir.join(FILE), self)
    }

    /// Takes what `other` says and keeps the rest.
    pub(crate) fn update(&mut self, other: Self) {
        let Self { node_name, subnet, account } = other;
        self.node_name = node_name.or_else(|| self.node_name.take());
        self.subnet = subnet.or_else(|| self.subnet.take());
        self.account = account.or(self.account);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_account_form_loads() {
        let address = "0x1111111111111111111111111111111111111111";
        let old =
            format!(r#"{{"node_name":"n","subnet":null,"account":{{"platform":"zksync","address":"{address}"}}}}"#);
        let globals: Globals = serde_json::from_str(&old).unwrap();
        assert_eq!(globals.account.unwrap().to_string(), address);
        assert_eq!(serde_json::to_value(&globals).unwrap()["account"], address);
    }

    #[test]
    fn unset_options_are_left_alone() {
        let mut globals = Globals { node_name: Some("a".into()), subnet: Some("private".into()), account: None };
        globals.update(Globals { node_name: Some("b".into()), ..Globals::default() });
        assert_eq!(globals.subnet.as_deref(), Some("private"));
        assert_eq!(globals.node_name.as_deref(), Some("b"));
    }
}
