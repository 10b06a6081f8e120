//! The codec against the recorded table, against the reference writer, and against hostile bytes.
#![cfg(test)]

#[path = "support/vectors.rs"]
#[expect(dead_code, reason = "shared with the router's tests")]
mod vectors;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use golem_bus::flexbuf::{self, Value, from_slice, to_vec};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Unit;
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct EmptyNamed {}
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct EmptyTuple();
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Newtype(String);
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Pair(u32, String);
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum E {
    Unit,
    New(String),
    Tup(u32, String),
    St { a: u32, b: Option<u32> },
}
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mixed {
    zed: u32,
    alpha_beta: Option<u32>,
    list: Vec<u8>,
    #[serde(with = "serde_bytes")]
    blob: Vec<u8>,
    neg: i32,
    big: u64,
    fl: f64,
    fl32: f32,
    t: bool,
}

/// Checks both directions and returns the bytes.
fn both<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: T) -> Vec<u8> {
    let bytes = to_vec(&value).unwrap();
    assert_eq!(from_slice::<T>(&bytes).unwrap(), value);
    bytes
}

fn written(name: &str) -> Vec<u8> {
    match name {
        "unit" => both(()),
        "unit_struct" => both(Unit),
        "empty_named" => both(EmptyNamed {}),
        "empty_tuple" => both(EmptyTuple()),
        "newtype" => both(Newtype("abc".into())),
        "pair" => both(Pair(7, "x".into())),
        "tuple2" => both(("a".to_owned(), 1u32)),
        "tuple_u2" => both((1u32, 2u32)),
        "str" => both("abc".to_owned()),
        "str_empty" => both(String::new()),
        "bool" => both(true),
        "u8" => both(5u8),
        "u16" => both(300u32),
        "i" => both(-1i64),
        "ipos" => both(5i64),
        "u64max" => both(u64::MAX),
        "f32" => both(1.5f32),
        "f64" => both(0.1f64),
        "f64exact" => both(1.5f64),
        "char" => both('z'),
        "none" => both(None::<String>),
        "some" => both(Some("x".to_owned())),
        "vec_u8_0" => both(Vec::<u8>::new()),
        "vec_u8_1" => both(vec![9u8]),
        "vec_u8_2" => both(vec![1u8, 2]),
        "vec_u8_3" => both(vec![1u8, 2, 3]),
        "vec_u8_4" => both(vec![1u8, 2, 3, 4]),
        "vec_u8_5" => both(vec![1u8, 2, 3, 4, 255]),
        "vec_u32_mixed" => both(vec![1u32, 70000]),
        "vec_str" => both(vec!["a".to_owned(), "b".to_owned()]),
        "vec_bool" => both(vec![true, false]),
        "vec_f" => both(vec![1.5f64]),
        "vec_i" => both(vec![-1i32, 2]),
        "bytes" => both(serde_bytes::ByteBuf::from(vec![1, 2, 3])),
        "bytes0" => both(serde_bytes::ByteBuf::new()),
        "e_unit" => both(E::Unit),
        "e_new" => both(E::New("x".into())),
        "e_tup" => both(E::Tup(1, "x".into())),
        "e_st" => both(E::St { a: 1, b: None }),
        "ok_unit" => both(Ok::<(), String>(())),
        "err_str" => both(Err::<(), String>("boom".into())),
        "ok_none" => both(Ok::<Option<u32>, String>(None)),
        "ok_vec" => both(Ok::<Vec<u8>, String>(vec![1, 2, 3, 4, 5])),
        "err_enum" => both(Err::<(), E>(E::Unit)),
        "map" => both(BTreeMap::from([("b".to_owned(), 1u32), ("a".to_owned(), 2), ("aa".to_owned(), 3)])),
        "struct" => both(Mixed {
            zed: 1,
            alpha_beta: None,
            list: vec![1, 2, 3, 4, 5],
            blob: vec![1, 2],
            neg: -5,
            big: 1 << 40,
            fl: 0.1,
            fl32: 1.5,
            t: true,
        }),
        "sockaddr4" => both("127.0.0.1:56988".parse::<SocketAddr>().unwrap()),
        "sockaddr6" => both("[::1]:1".parse::<SocketAddr>().unwrap()),
        "ipaddr" => both("10.0.0.1".parse::<IpAddr>().unwrap()),
        "duration" => both(Duration::from_millis(1500)),
        "json" => both(serde_json::json!({"x": [1, -2, "s", null, 1.25], "y": {}})),
        "long_str" => both("q".repeat(300)),
        "shared_keys" => both(BTreeMap::from([
            ("k1".to_owned(), BTreeMap::from([("id".to_owned(), 1u32)])),
            ("k2".to_owned(), BTreeMap::from([("id".to_owned(), 2u32)])),
        ])),
        other => panic!("a new row {other}"),
    }
}

#[test]
fn the_writer_gives_the_recorded_bytes() {
    let rows = vectors::rows("flexbuffers.tsv");
    assert!(rows.len() >= 53);
    for row in rows {
        assert_eq!(hex::encode(written(&row[0])), row[2], "{}", row[0]);
    }
}

#[test]
fn hostile_bytes_are_refused_at_once() {
    for row in vectors::rows("flexbuffers-hostile.tsv") {
        let bytes = hex::decode(&row[2]).unwrap();
        let before = Instant::now();
        assert!(matches!(from_slice::<Value>(&bytes), Err(flexbuf::Error::Read(_))), "{}", row[0]);
        // The same bytes in a field that the type ignores.
        assert!(from_slice::<EmptyNamed>(&bytes).is_err(), "{}", row[0]);
        assert!(before.elapsed() < Duration::from_secs(1));
    }
}

/// A vector of two offsets, both to the vector before, and so on: `levels` levels make 2^levels leaves.
fn bomb(levels: usize) -> Vec<u8> {
    const VECTOR_OF_BYTES: u8 = 10 << 2;
    // Length, elements, types of an empty vector.
    let mut bytes = vec![0];
    let mut at = bytes.len();
    for _ in 0..levels {
        bytes.push(2);
        let start = bytes.len();
        bytes.extend([u8::try_from(start - at).unwrap(), u8::try_from(start + 1 - at).unwrap()]);
        bytes.extend([VECTOR_OF_BYTES; 2]);
        at = start;
    }
    let slot = bytes.len();
    bytes.extend([u8::try_from(slot - at).unwrap(), VECTOR_OF_BYTES, 1]);
    bytes
}

#[test]
fn shared_sub_trees_do_not_explode() {
    assert!(from_slice::<Value>(&bomb(3)).is_ok());
    for levels in [12, 40, 63] {
        let refused = from_slice::<Value>(&bomb(levels)).unwrap_err();
        assert_eq!(refused, flexbuf::Error::Read(flexbuf::ReadError::TooManyValues), "{levels}");
    }
}

#[test]
fn shared_text_has_a_budget() {
    // 60 000 elements that all point at one text of 60 000 bytes would read 3.6 GB.
    let (count, len) = (60_000u32, 60_000u32);
    let mut bytes = len.to_le_bytes().to_vec();
    bytes.extend(std::iter::repeat_n(b'a', len as usize));
    bytes.extend([0, 0, 0, 0]);
    let text = 4;
    bytes.extend(count.to_le_bytes());
    let start = bytes.len();
    for index in 0..count as usize {
        bytes.extend(u32::try_from(start + index * 4 - text).unwrap().to_le_bytes());
    }
    bytes.extend(std::iter::repeat_n(5 << 2 | 2, count as usize));
    let slot = bytes.len();
    bytes.extend(u32::try_from(slot - start).unwrap().to_le_bytes());
    bytes.extend([10 << 2 | 2, 4]);
    assert_eq!(from_slice::<Vec<String>>(&bytes), Err(flexbuf::ReadError::TooMuchText.into()));
}

#[test]
fn nesting_has_a_limit() {
    let nested = |depth| (0..depth).fold(Value::Null, |inner, _| Value::Seq(vec![inner]));
    assert!(from_slice::<Value>(&to_vec(&nested(flexbuf::DEPTH_MAX)).unwrap()).is_ok());
    let deeper = to_vec(&nested(flexbuf::DEPTH_MAX + 1)).unwrap();
    assert_eq!(from_slice::<Value>(&deeper), Err(flexbuf::ReadError::TooDeep.into()));
    assert!(from_slice::<EmptyNamed>(&to_vec(&BTreeMap::from([("x", nested(100))])).unwrap()).is_err());
}

#[test]
fn readers_take_what_official_readers_take() {
    assert_eq!(from_slice::<u32>(&to_vec(&5i64).unwrap()), Ok(5));
    assert!(from_slice::<u32>(&to_vec(&-5i64).unwrap()).is_err());
    assert_eq!(from_slice::<i64>(&to_vec(&5u8).unwrap()), Ok(5));
    assert_eq!(from_slice::<serde_bytes::ByteBuf>(&to_vec(&vec![1u8, 2]).unwrap()).unwrap().as_ref(), [1, 2]);
    assert_eq!(from_slice::<E>(&to_vec(&BTreeMap::from([("Unit", ())])).unwrap()), Ok(E::Unit));
    assert_eq!(from_slice::<f64>(&to_vec(&3u8).unwrap()), Ok(3.0));
    // Unknown keys are ignored, missing ones an error unless optional.
    assert!(from_slice::<E>(&to_vec(&serde_json::json!({"St": {"a": 1, "c": [1, {"d": "x"}]}})).unwrap()).is_ok());
    assert!(from_slice::<E>(&to_vec(&serde_json::json!({"St": {"b": 1}})).unwrap()).is_err());
    assert_eq!(to_vec(&BTreeMap::from([("a\0b", 1)])), Err(flexbuf::Error::Key));
    assert_eq!(to_vec(&BTreeMap::from([(1, 1)])), Err(flexbuf::Error::Key));
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<u64>().prop_map(Value::UInt),
        (-300i64..300).prop_map(Value::Int),
        (0u64..70_000).prop_map(Value::UInt),
        any::<f32>().prop_filter("equal to itself", |f| !f.is_nan()).prop_map(|f| Value::Float(f.into())),
        any::<f64>().prop_filter("equal to itself", |f| !f.is_nan()).prop_map(Value::Float),
        "[^\0]{0,300}".prop_map(Value::Text),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(5, 200, 12, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..12).prop_map(Value::Seq),
            prop::collection::btree_map("[a-z.]{0,12}", inner, 0..12)
                .prop_map(|map| Value::Map(map.into_iter().collect())),
            prop::collection::vec(any::<u16>(), 0..300)
                .prop_map(|all| Value::Seq(all.into_iter().map(|one| Value::UInt(one.into())).collect())),
        ]
    })
}

proptest! {
    #[test]
    fn the_writer_agrees_with_the_reference(value in value()) {
        let bytes = to_vec(&value).unwrap();
        prop_assert_eq!(&bytes, &flexbuffers::to_vec(&value).unwrap());
        prop_assert_eq!(from_slice::<Value>(&bytes).unwrap(), value);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = from_slice::<Value>(&bytes);
        let _ = from_slice::<Mixed>(&bytes);
        let _ = from_slice::<Vec<E>>(&bytes);
        let _ = from_slice::<EmptyNamed>(&bytes);
    }

    #[test]
    fn broken_buffers_are_read_or_refused(
        value in value(), hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut: prop::sample::Index,
    ) {
        let mut bytes = to_vec(&value).unwrap();
        for (at, byte) in hits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = from_slice::<Value>(&bytes);
        let _ = from_slice::<E>(&bytes);
        let _ = from_slice::<EmptyNamed>(&bytes);
        let _ = from_slice::<Value>(&bytes[cut.index(bytes.len())..]);
    }
}
