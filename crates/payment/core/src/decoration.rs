//! What a demand says of its payment (spec 41 §3.6).

use golem_model::payment::{
    MarketDecoration, MarketProperty, PROTOCOL_VERSION, PROTOCOL_VERSION_PROPERTY, address_property,
};

/// The allocation behind a demand, as far as providers are to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    pub platform: String,
    pub address: String,
    pub deposit: bool,
}

pub fn decorate(allocations: &[Offered]) -> MarketDecoration {
    let property = |key: String, value: String| MarketProperty { key, value };
    let mut properties: Vec<_> = allocations
        .iter()
        .map(|allocation| property(address_property(&allocation.platform), allocation.address.clone()))
        .collect();
    properties.push(property(PROTOCOL_VERSION_PROPERTY.to_owned(), PROTOCOL_VERSION.to_string()));

    let mut clauses: Vec<_> =
        allocations.iter().map(|allocation| format!("({}=*)", address_property(&allocation.platform))).collect();
    let mut seen = std::collections::HashSet::new();
    clauses.retain(|clause| seen.insert(clause.clone()));
    let platforms = match &clauses[..] {
        [only] => only.clone(),
        several => {
            let lines: String = several.iter().flat_map(|clause| ["  ", clause.as_str(), "\n"]).collect();
            format!("(|\n{lines})")
        }
    };
    // Deposits need a payee that accepts a contract as the sender of the token.
    let version = if allocations.iter().any(|allocation| allocation.deposit) { 2 } else { 1 };
    MarketDecoration { properties, constraints: vec![platforms, format!("({PROTOCOL_VERSION_PROPERTY}>{version})")] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(platform: &str, deposit: bool) -> Offered {
        Offered { platform: platform.to_owned(), address: "0xa".to_owned(), deposit }
    }

    #[test]
    fn one_platform_is_one_clause_and_several_are_alternatives() {
        let one = decorate(&[offered("erc20-hoodi-tglm", false)]);
        assert_eq!(one.properties.len(), 2);
        assert_eq!(
            one.constraints,
            ["(golem.com.payment.platform.erc20-hoodi-tglm.address=*)", "(golem.com.payment.protocol.version>1)"]
        );
        let two = decorate(&[offered("a-b-c", false), offered("d-e-f", true)]);
        assert_eq!(
            two.constraints,
            [
                "(|\n  (golem.com.payment.platform.a-b-c.address=*)\n  \
                 (golem.com.payment.platform.d-e-f.address=*)\n)",
                "(golem.com.payment.protocol.version>2)"
            ]
        );
    }
}
