//! Keys, signatures and keystore files of real peers (spec 21 §1, §2; vectors 26, 29, 72, 73).
#![expect(clippy::unwrap_used, reason = "test code")]

use golem_keys::{Kdf, KeyError, Keystore, KeystoreError, SecretKey, Signature, recover, verify};
use golem_model::NodeId;
use proptest::prelude::*;
use serde_json::Value;

const SECRET: &str = "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318";

fn vectors(file: &str) -> Value {
    let path = format!("{}/../../tests/vectors/gsb/{file}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn replies(index: &str, file: &str) -> Vec<Value> {
    let index = vectors(index);
    let entry = index.as_array().unwrap().iter().find(|entry| entry["file"] == file).unwrap();
    entry["frames"].as_array().unwrap().iter().filter_map(|frame| frame.get("data_decoded").cloned()).collect()
}

fn id() -> NodeId {
    "0x2c7536e3605d9c16a7a3d7b1898e529396a65c23".parse().unwrap()
}

#[test]
fn the_test_pair_fits() {
    let key: SecretKey = SECRET.parse().unwrap();
    assert_eq!(key.node_id(), id());
    let public = &replies("index.json", "24-id-pubkey.hex")[1]["Ok"];
    assert_eq!(serde_json::json!(key.public().as_bytes().to_vec()), *public);
}

#[test]
fn a_signature_is_the_official_one() {
    let key: SecretKey = SECRET.parse().unwrap();
    let signature = key.sign(&[0; 32]);
    let expected = &replies("index.json", "26-id-sign.hex")[1]["Ok"];
    assert_eq!(serde_json::json!(signature.as_bytes().to_vec()), *expected);
    assert_eq!(recover(&[0; 32], signature.as_ref()), Ok(id()));
    let frames = replies("index-cli.json", "73-cli-id-sign.hex");
    let request = frames.iter().find(|frame| frame.get("payload").is_some()).unwrap();
    let payload: Vec<u8> = serde_json::from_value(request["payload"].clone()).unwrap();
    let payload = <[u8; 32]>::try_from(payload).unwrap();
    let bytes: Vec<u8> = serde_json::from_value(frames.last().unwrap()["Ok"].clone()).unwrap();
    let signer: NodeId = serde_json::from_value(request["nodeId"].clone()).unwrap();
    assert!(verify(&payload, &bytes, signer));
}

#[test]
fn official_keystores_open_and_keep_their_text() {
    let text = replies("index.json", "29-id-keyfile.hex")[1]["Ok"].as_str().unwrap().to_owned();
    let store = Keystore::parse(&text).unwrap();
    assert_eq!(store.to_json_pretty(), text);
    assert_eq!(store.open("").unwrap().node_id(), id());
    assert_eq!(store.open("x").unwrap_err(), KeystoreError::Password);
    let text = replies("index-cli.json", "72-cli-id-create.hex")[0]["fromKeystore"].as_str().unwrap().to_owned();
    let store = Keystore::parse(&text).unwrap();
    assert_eq!(store.to_json(), text);
    assert_eq!(Some(store.open("").unwrap().node_id()), store.address().unwrap());
}

#[test]
fn sealed_keys_open_with_their_password_only() {
    for (password, kdf) in [("", Kdf::Quick), ("pässword", Kdf::Costly)] {
        let key = SecretKey::generate();
        let store = Keystore::seal(&key, password, kdf).unwrap();
        let store = Keystore::parse(&store.to_json()).unwrap();
        assert_eq!(store.open(password).unwrap().node_id(), key.node_id());
        assert_eq!(store.open("other").unwrap_err(), KeystoreError::Password);
        assert!(!format!("{store:?} {key:?}").contains(&hex::encode(*key.expose())));
    }
}

/// The published test vectors of the Web3 secret storage definition.
#[test]
fn the_published_files_open() {
    let pbkdf2 = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"6087dab2f9fdbbfaddc31a909735c1e6"},
        "ciphertext":"5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46","kdf":"pbkdf2",
        "kdfparams":{"c":262144,"dklen":32,"prf":"hmac-sha256","salt":"ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},
        "mac":"517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"},"id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;
    let scrypt = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"83dbcc02d8ccb40e466191a123791e0e"},
        "ciphertext":"d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c","kdf":"scrypt",
        "kdfparams":{"dklen":32,"n":262144,"p":8,"r":1,"salt":"ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19"},
        "mac":"2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097"},"id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;
    for text in [pbkdf2, scrypt] {
        let key = Keystore::parse(text).unwrap().open("testpassword").unwrap();
        assert_eq!(hex::encode(*key.expose()), "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d");
    }
}

#[test]
fn hostile_keystores_are_refused_at_once() {
    let good = Keystore::seal(&SecretKey::generate(), "", Kdf::Quick).unwrap().to_json();
    let refused = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        let text = good.replacen(from, to, 1);
        assert!(Keystore::parse(&text).and_then(|store| store.open("").map(drop)).is_err(), "{text}");
    };
    refused("\"c\":10240", "\"c\":4294967295");
    refused("\"c\":10240", "\"c\":0");
    refused("\"dklen\":32", "\"dklen\":31");
    refused("\"dklen\":32", "\"dklen\":100000000000");
    refused("hmac-sha256", "hmac-sha512");
    refused("aes-128-ctr", "aes-256-ctr");
    refused("\"iv\":\"", "\"iv\":\"0x");
    refused("\"address\":\"", "\"address\":\"0x");
    refused("\"address\":\"", "\"address\":\"00");
    refused("\"crypto\"", "\"Crypto\"");
    let costly = Keystore::seal(&SecretKey::generate(), "", Kdf::Costly).unwrap().to_json();
    for (from, to) in [
        ("\"n\":65536", "\"n\":4611686018427387904"),
        ("\"r\":8", "\"r\":4000000000"),
        ("\"n\":65536", "\"n\":65537"),
        ("\"n\":65536", "\"n\":0"),
        ("\"p\":1", "\"p\":0"),
    ] {
        let text = costly.replacen(from, to, 1);
        assert_ne!(text, costly);
        assert!(Keystore::parse(&text).unwrap().open("").is_err(), "{text}");
    }
    let other = Keystore::seal(&SecretKey::generate(), "", Kdf::Quick).unwrap().to_json();
    let address = |text: &str| text[text.len() - 42..text.len() - 2].to_owned();
    let swapped = good.replace(&address(&good), &address(&other));
    assert!(matches!(Keystore::parse(&swapped).unwrap().open(""), Err(KeystoreError::Address { .. })));
}

#[test]
fn what_is_no_key_is_refused() {
    for text in [
        "",
        "0x4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318",
        "00",
        &"0".repeat(64),
        &"f".repeat(64),
    ] {
        assert_eq!(text.parse::<SecretKey>().unwrap_err(), KeyError::Secret, "{text}");
    }
    assert_eq!(Signature::try_from([27; 65].as_slice()), Err(KeyError::Signature));
}

#[test]
fn both_sides_reach_the_same_secret() {
    let (a, b) = (SecretKey::generate(), SecretKey::generate());
    assert_eq!(*a.shared_secret(&b.public()).unwrap(), *b.shared_secret(&a.public()).unwrap());
}

proptest! {
    #[test]
    fn a_signature_names_its_signer(secret in 1u128.., message: [u8; 32]) {
        let mut bytes = [0; 32];
        bytes[16..].copy_from_slice(&secret.to_be_bytes());
        let key = SecretKey::from_bytes(&bytes).unwrap();
        prop_assert_eq!(recover(&message, key.sign(&message).as_ref()), Ok(key.node_id()));
    }

    #[test]
    fn any_bytes_are_recovered_or_refused(bytes in proptest::collection::vec(any::<u8>(), 60..70), text: String) {
        let _ = recover(&[1; 32], &bytes);
        let _ = golem_keys::PublicKey::try_from(bytes.as_slice());
        let _ = text.parse::<SecretKey>();
        let _ = Keystore::parse(&text);
    }
}
