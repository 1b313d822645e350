//! Reloads that take their time.

use std::fs::File;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::process::{Files, OTHER, server_args, start_client};
use crate::service::{Service, connect, echoes};
use crate::systemd::Systemd;

/// Changes key files all the time until it is dropped. Each is then read again for a quarter of a
/// second, because its writer may still be at work.
struct Busy(Arc<AtomicBool>);

impl Busy {
    fn new(files: &[File]) -> Self {
        let over = Arc::<AtomicBool>::default();
        let is_over = Arc::clone(&over);
        let files: Vec<_> = files.iter().map(|it| it.try_clone().unwrap()).collect();
        let (begun, has_begun) = std::sync::mpsc::channel();
        thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                for file in &files {
                    file.set_modified(SystemTime::now()).unwrap();
                }
                // This fails once nobody waits for it.
                let _ = begun.send(());
                thread::sleep(Duration::from_millis(1));
            }
        });
        has_begun.recv().unwrap();
        Self(over)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_reload_that_takes_long_delays_no_connection_and_no_stop() {
    let files = Files::new();
    let key_files: Vec<_> = (0..100)
        .map(|n| {
            let name = format!("keys/slow-{n}.key");
            files.write(&name, &format!("{n:02}{}", &OTHER[2..]));
            File::open(files.path(&name)).unwrap()
        })
        .collect();
    let systemd = Systemd::new(&files);
    let mut server = systemd.start(server_args(&files, &Service::echo(), &[]));
    let client = start_client(&files, &server.address, &[]);
    systemd.is_told("READY=1");

    let busy = Busy::new(&key_files);
    server.signal("HUP");
    systemd.is_told("RELOADING=1");
    echoes(&mut *connect(&client.address)).unwrap();
    // These two lead to one reload, after the first is over.
    server.signal("HUP");
    server.signal("HUP");
    systemd.socket.set_nonblocking(true).unwrap();
    let told = systemd.socket.recv(&mut []).map_err(|error| error.kind());
    assert_eq!(told, Err(ErrorKind::WouldBlock), "the reload is over");
    systemd.socket.set_nonblocking(false).unwrap();
    drop(busy);
    for told in ["READY=1", "RELOADING=1", "READY=1"] {
        systemd.is_told(told);
    }

    let _busy = Busy::new(&key_files);
    server.signal("HUP");
    systemd.is_told("RELOADING=1");
    server.stop();
    systemd.is_told("STOPPING=1");
    let lines = server.lines();
    let reloads = lines.iter().filter(|it| it.contains("keys read again"));
    assert_eq!(reloads.count(), 2, "{lines:#?}");
}

#[test]
fn a_systemd_that_does_not_read_prevents_nothing() {
    let files = Files::new();
    let systemd = Systemd::new(&files);
    systemd.fill();
    let mut server = systemd.start(server_args(&files, &Service::echo(), &[]));
    let client = start_client(&files, &server.address, &[]);
    let mut stream = connect(&client.address);
    echoes(&mut *stream).unwrap();
    server.signal("HUP");
    server.logs(&["WARN", "systemd is not told [Reloading, "]);
    server.logs(&["INFO", "keys read again: "]);
    echoes(&mut *stream).unwrap();
    drop(stream);
    server.stop();
}
