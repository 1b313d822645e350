//! Writes the report as Markdown.

use std::fmt::Write;

use anyhow::Result;

use crate::machine::version_of;
use crate::results::Results;

mod faster;
mod goals;
mod tables;

pub fn of(results: &Results) -> String {
    let sections = [
        head(results),
        goals::of(results),
        tables::logins(results),
        tables::in_memory(results),
        tables::core(results),
        tables::crowd(results),
        tables::pending(results),
        tables::records(results),
        tables::idle(results),
        tables::builds(results),
        what_peers_give(),
        faster::of(results),
        method(results),
        versions(results),
        not_run(results),
    ];
    sections.join("\n")
}

const COMMAND: &str = "cargo run --release --manifest-path benches/peers/Cargo.toml -- --report";

fn head(results: &Results) -> String {
    let machine = &results.machine;
    let load = match &machine.load {
        Some(load) => format!(", load average {load} when it began"),
        None => String::new(),
    };
    let pinned = if machine.pinned {
        "everything but the builds on one core"
    } else {
        "**not pinned to one core**, so that latencies are noise"
    };
    format!(
        "\
# Comparison with alternatives

This command writes this file up to its [last parts](#listeners-in-floods-and-herds). It repeats these measurements on
your machine, in less than ten minutes:

```text
{COMMAND}
```

{date}, on {cpu}, {cores} cores, {kernel}{load}; {pinned}; took {took:.1} min.
Absolute times are of this machine. Ratios are of neighbours in the same round, and vary less between machines.

![Time of one login as a multiple of the bare exchange of three messages](benches/peers/pictures/login.svg)

![CPU time of one login as clients become more](benches/peers/pictures/concurrency.svg)

Compare like with like: `authenticate` (mode 0, the row *countersign*) and `protect` (mode 1) do not encrypt. `encrypt`
(mode 2) does, with forward secrecy, as Noise NNpsk0 and TLS with a key exchange do. See [what each peer
gives](#what-each-peer-gives) and [where a peer is faster](#where-a-peer-is-faster).
",
        date = machine.date,
        cpu = machine.cpu,
        cores = machine.cores,
        kernel = machine.kernel,
        took = results.took.as_secs_f64() / 60.0,
    )
}

fn what_peers_give() -> String {
    "\
## What each peer gives

For what follows a login: its integrity, its encryption, and the secrecy of what was sent from anyone who later obtains
the secret or the private keys.

| | integrity | encryption | forward secrecy | beyond that |
|---|---|---|---|---|
| countersign, `authenticate` (mode 0) | no | no | – | Under TLS, a channel binding ties the login to the connection. |
| countersign, `protect` (mode 1) | yes | no | – | |
| countersign, `encrypt` (mode 2) | yes | yes | yes | |
| the recipe | no | no | – | Two messages instead of three. The server is not authenticated. |
| CPython's `multiprocessing` | no | no | – | It is in Python's standard library, with pickled objects on top. A listener without the key can be accepted. |
| Noise NNpsk0 | yes | yes | yes | Other patterns of the same framework use public keys. No key id is sent, so both ends must know which secret it is. |
| TLS 1.3 PSK, `psk_ke` | yes | yes | no | A standard with many implementations. |
| TLS 1.3 PSK, `psk_dhe_ke` | yes | yes | yes | The same. |
| mutual TLS | yes | yes | yes | The same, and identities that a third party certifies: no secret is shared. |
| SCRAM-SHA-256 | no | no | – | What a server stores does not let it pose as the client, and each guess at a password is slow. Whoever obtains the keys that a client caches can log in as with the password. |
"
    .to_owned()
}

fn method(results: &Results) -> String {
    let mut text = format!(
        "\
## Method

- In each of {rounds} rounds every kind has one turn of four logins on loopback. Every second round has the reverse order,
  so that no kind always follows the same neighbour. The first login of a turn does not count, because it finds the
  caches as its neighbour left them. Ratios are between the medians of the turns of one round, so that a disturbance of
  the machine affects both. The tables have the median and the quartiles of the ratios.
- The other measurements with rounds reverse their order in the same way, and discard the first of each turn: a batch of
  the core, a login in memory, a run of records (256 of 16 KiB or 4096 of 64 bytes), and with many clients one login of
  each client. With many clients, the numbers of clients reverse their order too, and all peers log in equally often:
  {crowd_logins} times in a turn that counts, each client at least once.
- The floor is the three messages of countersign's native wire, 40, 73 and 33 bytes, as constants.
- A login begins before `connect` and ends when both ends have succeeded. It does not include closing, except in logins a
  second, where the next login begins when the server has closed. Both ends and the kernel share one core. In Rust the
  ends are two threads of one process. In Python they are two processes, and a switch between processes costs more.
- A login *with a timeout* is `authenticate_timeout`. It is in mode 0, as the row *countersign* is.
- The work of mode 2 has the same random numbers each time, and ends with the ciphers of both directions keyed. The two
  multiplications are by the same crate with the same features.
- In Rust every socket has `TCP_NODELAY` and a read timeout of five seconds. What outlives a login, such as keys,
  contexts and certificates, is made before. Peers in Rust without sockets of their own make one call to write and one
  to read for each message.
- *Told*: in TLS and Noise, a client can finish before the server has verified its last message. So the rows that are
  compared with goals have an extra message. In TLS the server sends one byte after it has verified the client's
  Finished. In Noise the second message tells the client, but an attacker can replay the first. So a third message of
  one byte shows the server that the client is alive. The neighbouring rows are without it, and for Noise also with a
  fourth message that answers it.
- In Python too, the end that succeeds last stops the clock, which both processes share. In both protocols this is the
  listener, and it sends the time after the login. CPython's `multiprocessing` does not set `TCP_NODELAY`. This costs
  nothing, because its messages alternate. Python sets no timeout.
- Of each peer's configurations, the one with the cheapest login in memory on this machine is measured. It is chosen
  once, after rounds that warm up, with the candidates in turn. The neighbouring rows have the same configuration:

",
        rounds = results.rounds,
        crowd_logins = results.crowd_logins,
    );
    for (id, choice) in &results.choices {
        let _ = writeln!(text, "  - {}: {choice}", id.name());
    }
    text += "
- OpenSSL omits the key exchange only if the two ends have no group in common, and its client makes a key share even so.
  A TLS library that omits the key share would be faster at `psk_ke`. Tickets, resumption and the messages for
  middleboxes are off.
- SCRAM is the four messages of RFC 5802 in frames with a length. Its cryptography is pbkdf2, hmac and sha2 with 4,096
  iterations. The server has stored keys. The client hashes its password each time, or has cached the result.
- In memory, both ends are futures that one thread polls in turn. The time and the allocations of a poll count for the
  end that is polled. Allocations are counted at the C library, so they include those of OpenSSL and AWS-LC, except
  `posix_memalign` and `aligned_alloc`, which are for a stricter alignment than usual.
- The bare records have the layout of countersign's: number, length and payload are authenticated. The receiver reads
  small records many at once, through a buffer of 16 KiB. System calls are counted by a stream between each peer
  and its socket, and are the means of all runs.
- The heap of idle streams is what 510 ends in one thread add to it. The buffers that a thread keeps for its streams
  exist before.
- Many logins at once are tasks of tokio on one thread, for all clients and the server's ends together. CPU is the CPU
  time of that thread, including the kernel's share. Peers without sockets of their own are driven by one future each,
  which does less than `tokio-rustls` or `tokio-openssl`.
- Builds are of separate projects into empty directories, with the versions below, without compiler flags or wrappers
  from the environment and without downloads. The first three are built three times in turn, and the median counts. The
  others are built once.
";
    text
}

fn versions(results: &Results) -> String {
    let machine = &results.machine;
    let mut text = format!(
        "## Versions\n\nrustc {}; {}; {}; crates: ",
        machine.rustc,
        machine.python.as_deref().unwrap_or("no CPython"),
        machine.openssl
    );
    let crates = [
        "countersign",
        "x25519-dalek",
        "aes-gcm",
        "snow",
        "openssl",
        "rustls",
        "aws-lc-rs",
        "ring",
        "rcgen",
        "pbkdf2",
        "hmac",
        "sha2",
        "base64",
        "getrandom",
        "tokio",
    ];
    let crates = crates.map(|name| format!("{name} {}", version_of(name)));
    text += &crates.join(", ");
    text += ".\n";
    text
}

fn not_run(results: &Results) -> String {
    let mut failures = Failures::default();
    for (id, outcome) in &results.logins {
        failures.note("one login", id.name(), outcome);
    }
    for (id, outcome) in &results.memory {
        failures.note("in memory", id.name(), outcome);
    }
    for (id, outcome) in &results.crowd {
        failures.note("many clients", id.name(), outcome);
    }
    for (id, outcome) in &results.pending {
        failures.note("pending", id.name(), outcome);
    }
    for (size, flows) in &results.records {
        for (kind, outcome) in flows {
            failures.note(size.records(), kind.name(), outcome);
        }
    }
    for (name, outcome) in &results.idle {
        failures.note("idle streams", name, outcome);
    }
    for (name, outcome) in &results.builds {
        failures.note("build", name, outcome);
    }
    let mut text = "## What did not run\n\n".to_owned();
    for (name, error, measurements) in &failures.0 {
        let _ = writeln!(text, "- {name} ({}): {error}", measurements.join(", "));
    }
    if failures.0.is_empty() {
        text += "Everything ran.\n";
    }
    if results.builds.is_empty() {
        text += "\nThe builds were left out.\n";
    }
    text += "
The peers in Python have no row in memory, with many clients, or among pending logins: they block, and the measurement
would be of the interpreter. Of Noise and TLS, only the rows that are compared with goals have one with many clients.
";
    text
}

/// The missing measurements, by peer and reason.
#[derive(Default)]
struct Failures(Vec<(&'static str, String, Vec<&'static str>)>);

impl Failures {
    fn note<T>(&mut self, measurement: &'static str, name: &'static str, outcome: &Result<T>) {
        let Err(error) = outcome else { return };
        let error = format!("{error:#}");
        match (self.0.iter_mut()).find(|(other, reason, _)| *other == name && *reason == error) {
            Some((_, _, measurements)) => measurements.push(measurement),
            None => self.0.push((name, error, vec![measurement])),
        }
    }
}
