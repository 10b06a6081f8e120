use rusqlite::{Connection, TransactionBehavior};

use crate::Place;

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
#[allow(private_interfaces, reason = "the place is only shown")]
pub enum OpenError {
    #[error("cannot open database `{place}`; hint: check the folder's permissions and free space")]
    Open {
        place: Place,
        #[source]
        source: rusqlite::Error,
    },
    #[error("cannot bring database `{place}` from version {from} to {to}")]
    Migrate {
        place: Place,
        from: usize,
        to: usize,
        #[source]
        source: rusqlite::Error,
    },
    #[error("database `{place}` has version {found}, this program knows {known}; hint: start the newer program again")]
    Newer { place: Place, found: usize, known: usize },
}

pub(crate) fn migrate(connection: &mut Connection, place: &Place, migrations: &[&str]) -> Result<(), OpenError> {
    let open = |source| OpenError::Open { place: place.clone(), source };
    let found: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(open)?;
    let found = found as usize;
    let Some(missing) = migrations.get(found..) else {
        return Err(OpenError::Newer { place: place.clone(), found, known: migrations.len() });
    };
    for (from, sql) in (found..).zip(missing) {
        let step = |connection: &mut Connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(sql)?;
            transaction.execute_batch(&format!("PRAGMA user_version = {}", from + 1))?;
            transaction.commit()
        };
        step(connection).map_err(|source| OpenError::Migrate { place: place.clone(), from, to: from + 1, source })?;
    }
    Ok(())
}
