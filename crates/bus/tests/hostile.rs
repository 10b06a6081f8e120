//! Bytes of anybody: read or refused, within limits, never a panic (spec 20 §9).
#![cfg(test)]

use bytes::{Bytes, BytesMut};
use golem_bus::payload::{INFLATED_BYTES_MAX, deflate, inflate};
use golem_bus::wire::{
    self, BroadcastRequest, CallReply, CallRequest, FRAME_BYTES_MAX, FrameError, Hello, Kind, Nothing, Outcome,
    Register, Topic,
};
use golem_bus::{Bus, PayloadError, decode, flexbuf};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

fn some_bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..64).prop_map(Bytes::from)
}

fn kind() -> impl Strategy<Value = Kind> {
    let text = "[a-z/0-9é]{0,20}";
    let outcome = || (any::<i32>(), text).prop_map(|(code, message)| Outcome { code, message });
    prop_oneof![
        (text, text, some_bytes()).prop_map(|(name, version, instance_id)| Kind::Hello(Hello {
            name,
            version,
            instance_id
        })),
        text.prop_map(|service_id| Kind::Register(Register { service_id })),
        text.prop_map(|service_id| Kind::Unregister(Register { service_id })),
        outcome().prop_map(Kind::RegisterReply),
        outcome().prop_map(Kind::UnregisterReply),
        outcome().prop_map(Kind::SubscribeReply),
        outcome().prop_map(Kind::UnsubscribeReply),
        outcome().prop_map(Kind::BroadcastReply),
        (text, text, text, some_bytes(), any::<bool>()).prop_map(|(caller, address, request_id, data, no_reply)| {
            Kind::Call(CallRequest { caller, address, request_id, data, no_reply })
        }),
        (text, any::<i32>(), any::<i32>(), some_bytes()).prop_map(|(request_id, code, reply_type, data)| {
            Kind::Reply(CallReply { request_id, code, reply_type, data })
        }),
        text.prop_map(|topic| Kind::Subscribe(Topic { topic })),
        text.prop_map(|topic| Kind::Unsubscribe(Topic { topic })),
        (text, some_bytes(), text).prop_map(|(caller, data, topic)| Kind::Broadcast(BroadcastRequest {
            caller,
            data,
            topic
        })),
        Just(Kind::Ping(Nothing {})),
        Just(Kind::Pong(Nothing {})),
    ]
}

fn frames_of(kinds: &[Kind]) -> BytesMut {
    let mut frames = BytesMut::new();
    for kind in kinds {
        assert!(wire::write_frame(kind.clone(), &mut frames));
    }
    frames
}

proptest! {
    #[test]
    fn any_bytes_are_frames_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        let mut buffer = BytesMut::from(&bytes[..]);
        loop {
            let before = buffer.len();
            match wire::read_frame(&mut buffer) {
                Ok(Some(_)) => prop_assert!(buffer.len() < before),
                Ok(None) => {
                    prop_assert_eq!(buffer.len(), before, "an unfinished frame stays");
                    break;
                }
                Err(_) => break,
            }
        }
        let _ = wire::decode_packet(bytes.into());
    }

    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut(kinds in vec(kind(), 0..8), cuts in vec(1_usize..40, 1..20)) {
        let frames = frames_of(&kinds);
        let (mut rest, mut buffer, mut got) = (&frames[..], BytesMut::new(), Vec::new());
        for cut in cuts.iter().cycle() {
            let (head, tail) = rest.split_at((*cut).min(rest.len()));
            buffer.extend_from_slice(head);
            rest = tail;
            while let Some(kind) = wire::read_frame(&mut buffer).unwrap() {
                got.push(kind);
            }
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(got, kinds);
        prop_assert!(buffer.is_empty());
    }

    #[test]
    fn lengths_above_the_limit_are_refused_from_the_header_alone(len in u32::try_from(FRAME_BYTES_MAX).unwrap() + 1..) {
        let mut buffer = BytesMut::from(&len.to_be_bytes()[..]);
        prop_assert_eq!(wire::read_frame(&mut buffer), Err(FrameError::TooLarge(usize::try_from(len).unwrap())));
    }

    #[test]
    fn any_body_is_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        let _ = inflate(&bytes);
        let _ = decode::<flexbuf::Value>(&bytes);
        // The same behind a header that promises zlib.
        let zlib = [&[0x78, 0x9c][..], &bytes].concat();
        let _ = decode::<flexbuf::Value>(&zlib);
    }

    #[test]
    fn what_is_deflated_is_inflated(bytes in vec(any::<u8>(), 0..2000), broken: prop::sample::Index) {
        let mut deflated = deflate(&bytes);
        prop_assert_eq!(&*inflate(&deflated).unwrap(), &bytes[..]);
        let at = broken.index(deflated.len());
        deflated[at] ^= 0x55;
        let _ = inflate(&deflated);
        deflated.truncate(at);
        let _ = inflate(&deflated);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A router takes whatever one connection sends, ends it, and goes on.
    #[test]
    fn a_router_outlives_any_client(kinds in vec(kind(), 0..12), tail in vec(any::<u8>(), 0..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (bus, stop) = (Bus::new(), CancellationToken::new());
            let (mut near, far) = tokio::io::duplex(1 << 16);
            let client = async {
                // It may hang up in the middle.
                let _ = near.write_all(&frames_of(&kinds)).await;
                let _ = near.write_all(&tail).await;
                let _ = near.shutdown().await;
                let mut answers = Vec::new();
                let _ = near.read_to_end(&mut answers).await;
                answers
            };
            let ((), answers) = tokio::join!(bus.serve(far, &stop), client);
            let mut answers = BytesMut::from(&answers[..]);
            while wire::read_frame(&mut answers).unwrap().is_some() {}
            assert!(!bus.is_bound("/x"));
        });
    }
}

#[test]
fn a_zlib_bomb_is_refused() {
    let limit = deflate(&vec![0; INFLATED_BYTES_MAX]);
    assert_eq!(inflate(&limit).unwrap().len(), INFLATED_BYTES_MAX);
    let bomb = deflate(&vec![0; INFLATED_BYTES_MAX + 1]);
    assert!(bomb.len() < 100_000);
    assert_eq!(inflate(&bomb), Err(PayloadError::TooLarge));
    assert_eq!(decode::<flexbuf::Value>(&bomb), Err(PayloadError::TooLarge));
}

#[test]
fn a_frame_above_the_limit_is_not_written() {
    let mut buffer = BytesMut::new();
    let reply = CallReply { data: vec![0; FRAME_BYTES_MAX].into(), ..CallReply::default() };
    assert!(!wire::write_frame(Kind::Reply(reply), &mut buffer));
    assert!(buffer.is_empty());
}
