//! Attackers who only connect.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use countersign::compat::{cookbook, multiprocessing};
use countersign::{Client, Deadline, Listener, ListenerOptions, Server, server_authenticate};

use super::stage::{LIMIT, Program, Wire};
use super::table::{Fates, fate};
use crate::support::{key, secret};

/// A client connects, sends one byte and stays, and the next client is not served.
pub fn slowloris() -> Fates {
    let secret = secret("shared");
    let recipe = |stream: &mut dyn Stream| drop(cookbook::server_authenticate(stream, &secret));
    let multiprocessing =
        |stream: &mut dyn Stream| drop(multiprocessing::server_authenticate(stream, &secret));
    let native = |stream: &mut dyn Stream| drop(server_authenticate(stream, &key("shared")));

    let told = |login: &Login| {
        let [bare, timed] = [None, Some(LOGIN_TIME)].map(|time| fate(blocks(time, login)));
        format!("{bare}; {timed} with a deadline")
    };
    Fates {
        recipe: told(&recipe),
        multiprocessing: told(&multiprocessing),
        ..Fates::of_native(blocks(None, &native))
    }
    .with("with a deadline", blocks(Some(LOGIN_TIME), &native))
    .with("behind a `Listener`", blocks_a_listener())
}

const LOGIN_TIME: Duration = Duration::from_millis(20);

trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

/// What a server does with each connection.
type Login<'l> = dyn Fn(&mut dyn Stream) + Sync + 'l;

/// Returns whether an honest client waits in vain behind a slow one. `time` is the deadline of each
/// login.
fn blocks(time: Option<Duration>, login: &Login) -> bool {
    // Without a deadline, waiting longer would change nothing.
    let patience = time.map_or(Duration::from_millis(100), |_| LIMIT);
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let connect = || TcpStream::connect(socket.local_addr().unwrap()).unwrap();
    let (mut slow, mut honest) = (connect(), connect());
    slow.write_all(b"C").unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..2 {
                let (mut stream, _) = socket.accept().unwrap();
                match time {
                    None => login(&mut stream),
                    Some(time) => login(&mut Deadline::new(&stream, time)),
                }
            }
        });
        let mut is_served_within = |time| {
            honest.set_read_timeout(Some(time)).unwrap();
            honest.read_exact(&mut [0; 32]).is_ok()
        };
        let served = is_served_within(patience);
        drop(slow);
        assert!(served || is_served_within(LIMIT));
        // So that its own login ends too.
        drop(honest);
        !served
    })
}

/// Returns whether an honest client is kept out by more silent clients than may be pending, which
/// have a long deadline.
fn blocks_a_listener() -> bool {
    // With this limit, the connection that is evicted is the oldest.
    const MAX_PENDING: usize = 2;
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let connect = || TcpStream::connect(address).unwrap();
    let silent: Vec<_> = (0..2 * MAX_PENDING).map(|_| connect()).collect();
    let options = ListenerOptions::new()
        .deadline(2 * LIMIT)
        .max_pending(MAX_PENDING);
    let server = Server::new(key("shared"));
    let _listener = Listener::with_options(socket, server, options).unwrap();
    let honest = connect();
    let login = Client::new(key("shared")).authenticate_timeout(&honest, LIMIT);

    // The cap was reached, so the listener closed the oldest connection.
    let mut oldest = &silent[0];
    oldest.set_read_timeout(Some(LIMIT)).unwrap();
    oldest.read_to_end(&mut Vec::new()).unwrap();
    login.is_err()
}

/// A client without a key reads from the answer whether a key id exists.
pub fn enumeration() -> Fates {
    let answered = |key_id| {
        let program = Program::on(Wire::Native).called("worker-7");
        let mut server = program.server();
        let mut stranger = program.knowing(secret("other")).called(key_id).client();
        let f1 = server.says(40);
        stranger.hears(&f1);
        server.hears(&stranger.says(73 + key_id.len()));
        let answer = server.says(1000);
        assert!(!server.accepts());
        answer
    };
    Fates::of_native(answered("worker-7") != answered("worker-8"))
}
