//! Listeners that hand over protected streams.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use countersign::{Client, KeyId, Listener, Outcome, Protected, Server};

use crate::failures::incompatible;
use crate::identity::key_of;
use crate::listener::clients::authenticate;
#[cfg(feature = "tokio")]
use crate::listener::running::runtime;
use crate::listener::running::{Accepts, options};
use crate::records::stream::{IntoStream, Stream};
use crate::records::via::Via;
use crate::sockets::LONG;
#[cfg(feature = "tokio")]
use crate::sockets::listener_over_tokio;
use crate::support::Driver;

type Accepted = (KeyId, Box<dyn Stream>);

impl Accepts<Accepted> for Listener<Protected<TcpStream>> {
    fn accept(&self) -> io::Result<Accepted> {
        let stream = self.accept()?;
        let key_id = *stream.session().key_id();
        Ok((key_id, stream.into_stream(Via::WHOLE)))
    }

    fn shutdown(&self) {
        self.shutdown();
    }
}

#[cfg(feature = "tokio")]
impl Accepts<Accepted>
    for countersign::tokio::Listener<countersign::tokio::Protected<tokio::net::TcpStream>>
{
    fn accept(&self) -> io::Result<Accepted> {
        let stream = runtime().block_on(self.accept())?;
        let key_id = *stream.session().key_id();
        Ok((key_id, stream.into_stream(Via::WHOLE)))
    }

    fn shutdown(&self) {
        self.shutdown();
    }
}

/// Starts a listener. Its hook sends the error of each handshake that was refused.
fn listen(driver: Driver) -> (SocketAddr, Arc<dyn Accepts<Accepted>>, Receiver<String>) {
    let (sender, refused) = channel();
    let sender = Mutex::new(sender);
    let options = options().on_event(move |event| {
        if let Outcome::Refused(error) = &event.outcome {
            // This fails once the test is over.
            let _ = sender.lock().unwrap().send(error.to_string());
        }
    });
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let server = Server::new(key_of("ours", "worker-7"));
    let listener: Arc<dyn Accepts<_>> = match driver {
        Driver::Blocking => {
            let listener = Listener::protected_with_options(socket, server, options);
            Arc::new(listener.unwrap())
        }
        #[cfg(feature = "tokio")]
        Driver::Tokio => {
            let _runtime = runtime().enter();
            let socket = listener_over_tokio(socket);
            let server = server.into();
            let listener =
                countersign::tokio::Listener::protected_with_options(socket, server, options);
            Arc::new(listener.unwrap())
        }
    };
    (address, listener, refused)
}

#[test]
fn a_protected_listener_hands_over_protected_streams_and_refuses_mode_0() {
    for &driver in Driver::ALL {
        let (address, listener, refused) = listen(driver);
        let key = key_of("ours", "worker-7");

        let stream = TcpStream::connect(address).unwrap();
        let error = authenticate(&stream, &key).unwrap_err();
        assert!(incompatible(&error).is_some(), "{error:?}");
        drop(stream);
        let sentence = refused.recv_timeout(LONG).unwrap();
        let names = "wants authenticate (mode 0) and this end protect (mode 1)";
        assert!(sentence.contains(names), "{sentence}");

        let client = thread::spawn(move || {
            let stream = TcpStream::connect(address).unwrap();
            let stream = Client::new(key).protect_timeout(stream, LONG).unwrap();
            let mut stream = stream.into_stream(Via::WHOLE);
            stream.write_all(b"hello").unwrap();
            stream.close().unwrap();
            stream.read_to_end(100)
        });
        let (key_id, mut stream) = listener.accept().unwrap();
        assert_eq!(key_id, "worker-7");
        let (received, ended) = stream.read_to_end(100);
        ended.unwrap();
        stream.write_all(&received).unwrap();
        stream.close().unwrap();
        let (echo, ended) = client.join().unwrap();
        ended.unwrap();
        assert_eq!(echo, b"hello");

        listener.shutdown();
        assert!(listener.accept().is_err());
    }
}

#[test]
fn a_protected_listener_leaves_no_timeout_on_its_streams() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let server = Server::new(key_of("ours", "worker-7"));
    let options = options().deadline(Duration::from_secs(10));
    let listener = Listener::protected_with_options(socket, server, options).unwrap();
    let stream = TcpStream::connect(address).unwrap();
    let client = Client::new(key_of("ours", "worker-7"));
    let _client = client.protect_timeout(stream, LONG).unwrap();
    let stream = listener.accept().unwrap();
    assert_eq!(stream.get_ref().read_timeout().unwrap(), None);
    assert_eq!(stream.get_ref().write_timeout().unwrap(), None);
}
