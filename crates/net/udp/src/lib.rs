//! A UDP socket for one task that moves many datagrams: takes them in batches and never waits for a single one.
//!
//! [`Udp::recv`] hands out what has arrived, [`Udp::send`] sends at once or keeps a bounded queue for
//! [`Udp::flush`]. Deliberately absent: what is in a datagram, and retries (a datagram may always be lost).

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

/// Socket buffers that we ask for; the system may give less.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;
/// Datagrams taken before others get their turn.
const BATCH: usize = 64;
/// Datagrams that wait for room in the socket; more are dropped, as the network would.
const QUEUE_MAX: usize = 1024;
/// Longest UDP payload.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// Received datagrams share buffers of this size.
const CHUNK_BYTES: usize = 256 << 10;

#[derive(Debug)]
pub struct Udp {
    socket: UdpSocket,
    local: SocketAddr,
    buffer: BytesMut,
    queue: VecDeque<(SocketAddr, Bytes)>,
    dropped: u64,
}

impl Udp {
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        // The defaults hold some hundred datagrams, less than one window of a virtual connection. Some systems refuse.
        let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
        let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
        #[cfg(target_os = "linux")]
        {
            // Beyond the limit of the system, where we may.
            use nix::sys::socket::{setsockopt, sockopt};
            let _ = setsockopt(&socket, sockopt::RcvBufForce, &SOCKET_BUFFER_BYTES);
            let _ = setsockopt(&socket, sockopt::SndBufForce, &SOCKET_BUFFER_BYTES);
        }
        socket.bind(&address.into())?;
        let socket = UdpSocket::from_std(socket.into())?;
        let local = socket.local_addr()?;
        Ok(Self { socket, local, buffer: BytesMut::new(), queue: VecDeque::new(), dropped: 0 })
    }

    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Datagrams that were not sent because the queue was full.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether more can be sent without being dropped.
    pub fn has_room(&self) -> bool {
        self.queue.len() < QUEUE_MAX / 2
    }

    pub fn has_queue(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Waits until datagrams have arrived or, with a queue, some can be sent. Safe to cancel.
    pub async fn ready(&self) -> io::Result<()> {
        if self.queue.is_empty() {
            self.socket.readable().await
        } else {
            self.socket.ready(tokio::io::Interest::READABLE | tokio::io::Interest::WRITABLE).await.map(|_| ())
        }
    }

    /// Hands some of what has arrived to `take`; false when there is no more.
    pub fn recv(&mut self, mut take: impl FnMut(SocketAddr, Bytes)) -> bool {
        for _ in 0..BATCH {
            if self.buffer.capacity() < DATAGRAM_BYTES_MAX {
                self.buffer = BytesMut::with_capacity(CHUNK_BYTES);
            }
            match self.socket.try_recv_buf_from(&mut self.buffer) {
                Ok((_, from)) => take(from, self.buffer.split().freeze()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                // An ICMP message about an earlier datagram: that peer is gone, the others are not.
                Err(_) => {}
            }
        }
        true
    }

    /// Sends now, or keeps the datagram for [`Self::flush`].
    pub fn send(&mut self, to: SocketAddr, data: Bytes) {
        if self.queue.is_empty() {
            match self.socket.try_send_to(&data, to) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => return,
            }
        }
        if self.queue.len() < QUEUE_MAX {
            self.queue.push_back((to, data));
        } else {
            self.dropped += 1;
        }
    }

    /// Sends what waits, as far as there is room.
    pub fn flush(&mut self) {
        while let Some((to, data)) = self.queue.front() {
            match self.socket.try_send_to(data, *to) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                _ => {
                    self.queue.pop_front();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn datagrams_arrive_whole() {
        let mut a = Udp::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let mut b = Udp::bind(([127, 0, 0, 1], 0).into()).unwrap();
        for len in [0, 1, 1400, 60_000] {
            a.send(b.local_addr(), vec![7; len].into());
        }
        // The first ones wait until the reactor has seen the socket.
        while a.has_queue() {
            a.ready().await.unwrap();
            a.flush();
        }
        let mut got = Vec::new();
        while got.len() < 4 {
            b.ready().await.unwrap();
            b.recv(|from, data| got.push((from, data.len())));
        }
        assert_eq!(got, [0, 1, 1400, 60_000].map(|len| (a.local_addr(), len)));
        assert!(!a.has_queue() && a.has_room() && a.dropped() == 0);
    }
}
