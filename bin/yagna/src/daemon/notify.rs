//! Tells the starter that the daemon is ready: one datagram `READY=1` (spec 22 §1).

#[cfg(unix)]
pub(crate) fn ready() {
    let Some(path) = crate::env::NOTIFY_SOCKET.os().filter(|path| !path.is_empty()) else { return };
    if let Err(error) = send(&path) {
        tracing::warn!(%error, "cannot tell the starter that the daemon is ready");
    }
}

#[cfg(unix)]
fn send(path: &std::ffi::OsStr) -> std::io::Result<()> {
    use std::os::unix::net::UnixDatagram;
    let socket = UnixDatagram::unbound()?;
    #[cfg(target_os = "linux")]
    {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::ffi::OsStrExt;
        if let [b'@', name @ ..] = path.as_bytes() {
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
            return socket.send_to_addr(b"READY=1", &address).map(drop);
        }
    }
    socket.send_to(b"READY=1", path).map(drop)
}

#[cfg(not(unix))]
pub(crate) fn ready() {}
