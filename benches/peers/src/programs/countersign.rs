use std::net::{TcpListener, TcpStream};

use countersign::{Key, client_authenticate, server_authenticate};

fn main() {
    let key = Key::new("what both ends of this one share").unwrap();
    if std::env::args().len() > 1 {
        let listener = TcpListener::bind("127.0.0.1:7000").unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        server_authenticate(&mut stream, &key).unwrap();
    } else {
        let mut stream = TcpStream::connect("127.0.0.1:7000").unwrap();
        client_authenticate(&mut stream, &key).unwrap();
    }
}
