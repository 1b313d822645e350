use std::net::{TcpListener, TcpStream};

use countersign::{Client, Key, Server};

fn main() {
    let key = Key::new("what both ends of this one share").unwrap();
    if std::env::args().len() > 1 {
        let listener = TcpListener::bind("127.0.0.1:7000").unwrap();
        let (stream, _) = listener.accept().unwrap();
        Server::new(key).encrypt(stream).unwrap().close().unwrap();
    } else {
        let stream = TcpStream::connect("127.0.0.1:7000").unwrap();
        Client::new(key).encrypt(stream).unwrap().close().unwrap();
    }
}
