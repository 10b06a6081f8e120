//! The property and constraint language of the market (spec 30): parse once, match often.
//!
//! [`flatten`] makes the stored form of posted properties, [`expand`] undoes it. An [`Artifact`] is one side of a
//! match, compiled: a [`PropertySet`] and [`Constraints`]. [`match_pair`] says yes, no or undefined; [`Index`] finds the
//! counterparts of an artifact among many without looking at most of them.
//!
//! Every daemon evaluates the language for itself, so results agree with the network's to the letter; the surprises are
//! listed in the specification and pinned by its vectors. Deliberately absent: ids, time, and any meaning of a property.

mod artifact;
mod constraints;
mod decimal;
mod flatten;
mod index;
mod literal;
mod operand;
mod reference;
mod resolve;
mod set;

pub use artifact::{Artifact, MatchError, Mismatch, Outcome, match_pair};
pub use constraints::{Comparison, Constraints, Expression, ParseConstraintsError, Reference};
pub use flatten::{ExpandError, FlattenError, expand, flatten, flatten_text};
pub use index::{Found, Index};
pub use literal::Literal;
pub use operand::{Operand, list_items};
pub use reference::{Kind, PropertyRef};
pub use resolve::Truth;
pub use set::{PropertiesError, PropertySet};
