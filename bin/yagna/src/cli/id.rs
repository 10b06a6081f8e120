//! `yagna id` (spec 22b §2).

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use golem_keys::{Keystore, KeystoreError, SecretKey};
use golem_model::identity::{
    ADDRESS, CreateGenerated, DropId, Get, GetKeyFile, GetPubKey, IdentityInfo, List, Lock, Sign, Unlock, Update,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::client::{Client, Who};
use super::prompt;
use crate::output::Output;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List identities
    List,
    /// Show an identity
    Show {
        #[arg(value_parser = Who::parse, value_name = "NODE_OR_ALIAS")]
        who: Option<Who>,
    },
    /// Print the public key
    PubKey {
        #[arg(value_parser = Who::parse, value_name = "NODE_OR_ALIAS")]
        who: Option<Who>,
    },
    /// Sign the SHA-256 of a file
    Sign {
        file: PathBuf,
        #[arg(value_parser = Who::parse, value_name = "NODE_OR_ALIAS")]
        who: Option<Who>,
    },
    /// Make or import an identity
    Create(Create),
    /// Rename an identity or make it the default
    Update {
        #[arg(value_parser = Who::parse, value_name = "NODE_OR_ALIAS")]
        who: Option<Who>,
        /// New alias
        #[arg(long)]
        alias: Option<String>,
        /// Make it the default
        #[arg(long)]
        set_default: bool,
    },
    /// Take the key out of memory
    Lock {
        #[arg(value_parser = Who::parse, value_name = "NODE_OR_ALIAS")]
        who: Option<Who>,
        /// Ask for a new password first
        #[arg(long)]
        new_password: bool,
    },
    /// Make the key usable
    Unlock {
        #[arg(value_parser = Who::parse, value_name = "NODE_OR_ALIAS")]
        who: Option<Who>,
        /// Password; asked for without it
        #[arg(long)]
        password: Option<String>,
    },
    /// Delete an identity
    Drop {
        #[arg(value_parser = Who::parse, value_name = "NODE_OR_ALIAS")]
        who: Who,
        /// Do not ask
        #[arg(long)]
        force: bool,
    },
    /// Print the keystore of an identity
    Export {
        #[arg(value_parser = Who::parse, value_name = "NODE_OR_ALIAS")]
        who: Option<Who>,
        /// The private key itself
        #[arg(long)]
        plain: bool,
        /// Write to this file, which must not exist
        #[arg(long)]
        file_path: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(super) struct Create {
    alias: Option<String>,
    /// Keystore file to import
    #[arg(long, conflicts_with = "from_private_key")]
    from_keystore: Option<PathBuf>,
    /// Private key to import, 64 hex digits
    #[arg(long)]
    from_private_key: Option<String>,
    /// Password of the new keystore
    #[arg(long, conflicts_with = "no_password")]
    password: Option<String>,
    /// Leave the key unprotected
    #[arg(long)]
    no_password: bool,
    /// Make it the default
    #[arg(long)]
    set_default: bool,
}

pub(super) async fn run(command: Command, client: &Client) -> Result<Output> {
    match command {
        Command::List => Ok(list(client.call(ADDRESS, List {}).await?)),
        Command::Show { who } => client.result(ADDRESS, who.map_or(Get::ByDefault, Who::get)).await,
        Command::PubKey { who } => {
            let id = client.node_id(who.as_ref()).await?;
            let key = client.call(ADDRESS, GetPubKey(id)).await?;
            Ok(Output::Value(json!({ "pubKey": hex::encode(key) })))
        }
        Command::Sign { file, who } => {
            let payload = hash_of(&file)?;
            let node_id = client.node_id(who.as_ref()).await?;
            let signature = client.call(ADDRESS, Sign { node_id, payload }).await?;
            Ok(Output::Value(json!({ "sig": hex::encode(signature) })))
        }
        Command::Create(create) => self::create(create, client).await,
        Command::Update { who, alias, set_default } => {
            let node_id = client.node_id(who.as_ref()).await?;
            if set_default {
                let note = "the new default identity takes full effect after a restart of the daemon\n";
                let _ = std::io::stderr().write_all(note.as_bytes());
            }
            client.result(ADDRESS, Update { node_id, alias, set_default }).await
        }
        Command::Lock { who, new_password } => {
            let node_id = client.node_id(who.as_ref()).await?;
            let set_password = new_password.then(prompt::new_password).transpose()?;
            client.result(ADDRESS, Lock { node_id, set_password }).await
        }
        Command::Unlock { who, password } => {
            let node_id = client.node_id(who.as_ref()).await?;
            let password = password.map_or_else(|| prompt::password("Password: "), Ok)?;
            client.result(ADDRESS, Unlock { node_id, password }).await
        }
        Command::Drop { who, force } => drop_id(who, force, client).await,
        Command::Export { who, plain, file_path } => export(who, plain, file_path, client).await,
    }
}

fn list(mut all: Vec<IdentityInfo>) -> Output {
    // The default first, then by alias, the last letter first; without an alias last.
    all.sort_by(|a, b| b.is_default.cmp(&a.is_default).then_with(|| b.alias.cmp(&a.alias)));
    let mark = |set: bool| Value::from(if set { "X" } else { "" });
    let row = |info: IdentityInfo| {
        let IdentityInfo { alias, node_id, is_locked, is_default, deleted } = info;
        [mark(is_default), mark(is_locked), mark(deleted), json!(alias), json!(node_id)]
    };
    let columns = ["default", "locked", "delete in progress", "alias", "address"];
    Output::table(columns, all.into_iter().map(row).collect())
}

fn hash_of(path: &Path) -> Result<Vec<u8>> {
    let failed = || format!("cannot read `{}`", path.display());
    let mut file = File::open(path).with_context(failed)?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 64 * 1024]);
    loop {
        match file.read(&mut buffer).with_context(failed)? {
            0 => return Ok(hash.finalize().to_vec()),
            read => hash.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}

async fn create(create: Create, client: &Client) -> Result<Output> {
    let keystore = match (&create.from_keystore, &create.from_private_key) {
        (Some(path), _) => {
            std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?
        }
        (None, key) => {
            let secret = match key {
                Some(text) => text.parse::<SecretKey>().with_context(|| {
                    format!(
                        "Private key has to be plain hex string without 0x prefix - {} characters given",
                        text.len()
                    )
                })?,
                None => SecretKey::generate(),
            };
            let password = match create.password {
                Some(password) => password,
                None if create.no_password => String::new(),
                None => prompt::new_password()?,
            };
            Keystore::seal_for(&secret, &password)?.to_json()
        }
    };
    let request = CreateGenerated { alias: create.alias, from_keystore: Some(keystore) };
    let node_id = client.call(ADDRESS, request).await?.node_id;
    client.result(ADDRESS, Update { node_id, alias: None, set_default: create.set_default }).await
}

async fn drop_id(who: Who, force: bool, client: &Client) -> Result<Output> {
    let name = who.to_string();
    let Some(info) = client.identity(who.get()).await? else { bail!("node with alias {name} not found") };
    if info.is_default {
        bail!("Default identity cannot be dropped");
    }
    if info.deleted {
        bail!("Identity {} is already dropped", info.node_id);
    }
    let question = format!("Drop {} for ever? Without a copy of its key, funds on it are lost.", info.node_id);
    if !force && !prompt::confirm(&question)? {
        bail!("nothing was dropped");
    }
    client.result(ADDRESS, DropId { node_id: info.node_id }).await
}

async fn export(who: Option<Who>, plain: bool, path: Option<PathBuf>, client: &Client) -> Result<Output> {
    let id = client.node_id(who.as_ref()).await?;
    if path.as_ref().is_some_and(|path| path.exists()) {
        bail!("File already exists");
    }
    let mut text = client.call(ADDRESS, GetKeyFile(id)).await?;
    if plain {
        let keystore = Keystore::parse(&text)?;
        let secret = match keystore.open("") {
            Err(KeystoreError::Password) => keystore.open(&prompt::password("Password: ")?)?,
            opened => opened?,
        };
        text = hex::encode(*secret.expose());
    }
    let Some(path) = path else { return Output::value(text) };
    write_secret(&path, &text).with_context(|| format!("cannot write `{}`", path.display()))?;
    Output::value(format!("Written to '{}'", path.display()))
}

/// Only the owner may read the file.
fn write_secret(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(text.as_bytes())
}
