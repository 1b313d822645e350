//! Writes a table for each measurement. A peer that did not run is named, without numbers.

use std::fmt::Write;

use crate::allocations::COUNTED;
use crate::peers::Id;
use crate::records::{Flow, Kind};
use crate::results::Results;
use crate::sample::{Quartiles, Sample};

pub fn logins(results: &Results) -> String {
    let mut text = "\
## One login

From before `connect` until both ends have succeeded. Every row, the floor included, contains `connect` and `accept` of
a new connection over loopback.

| | median | p99 | times the floor (quartiles) | messages | bytes |
|---|---:|---:|---|---:|---:|
"
    .to_owned();
    let floor = results.login(Id::Floor);
    for (id, times) in &results.logins {
        let Ok(times) = times else {
            let _ = writeln!(text, "| {} | not run | | | | |", id.name());
            continue;
        };
        let against = floor.map(|floor| times.turns.against(floor));
        let (messages, bytes) = on_the_wire(results, *id);
        let _ = writeln!(
            text,
            "| {} | {:.1} µs | {:.1} µs | {} | {messages} | {bytes} |",
            emphasised(*id),
            1e6 * times.each.median(),
            1e6 * times.each.quantile(0.99),
            against.map_or_else(String::new, ratio)
        );
    }
    text
}

fn on_the_wire(results: &Results, id: Id) -> (String, String) {
    let own = match id {
        Id::PythonRecipe => Id::Cookbook,
        Id::PythonMultiprocessing => Id::Multiprocessing,
        id => id,
    };
    results
        .in_memory(own)
        .map_or_else(Default::default, |costs| {
            (costs.messages.to_string(), costs.bytes.to_string())
        })
}

pub fn in_memory(results: &Results) -> String {
    let mut text = "\
## What each side does, without a socket

CPU time and heap allocations of a login in memory, including random numbers.

| | client | server | client's allocations | server's allocations |
|---|---:|---:|---:|---:|
"
    .to_owned();
    for (id, costs) in &results.memory {
        let Ok(costs) = costs else {
            let _ = writeln!(text, "| {} | not run | | | |", id.name());
            continue;
        };
        let [client, server] = costs.times.each_ref().map(|times| 1e6 * times.median());
        let [clients, servers] = costs.allocations.map(|allocations| {
            if !COUNTED {
                return "not counted".to_owned();
            }
            match allocations.count {
                0 => "none".to_owned(),
                count => format!("{count}, {} bytes", thousands(allocations.bytes)),
            }
        });
        let _ = writeln!(
            text,
            "| {} | {client:.1} µs | {server:.1} µs | {clients} | {servers} |",
            emphasised(*id)
        );
    }
    text
}

pub fn core(results: &Results) -> String {
    let core = &results.core;
    let mut text = "\
## countersign's core relative to bare SHA-256

The nine compressions that three tags need, and each side of the core, which receives its nonces ready-made.

| | | times nine in one call | times nine split for three tags |
|---|---:|---|---|
"
    .to_owned();
    for (name, times) in [
        ("nine compressions in one call", &core.one_call),
        ("nine compressions split for three tags", &core.three_tags),
        ("client", &core.client),
        ("server", &core.server),
    ] {
        let _ = writeln!(
            text,
            "| {name} | {:.0} ns | {} | {} |",
            1e9 * times.median(),
            ratio(times.against(&core.one_call)),
            ratio(times.against(&core.three_tags))
        );
    }
    text += "
In mode 2, with the keys of the records, relative to two multiplications of X25519, one of the base point and one of
another, and the work of the same side in mode 0.

| | | times both |
|---|---:|---|
";
    let _ = writeln!(
        text,
        "| two multiplications | {:.1} µs | |",
        1e6 * core.multiplications.median()
    );
    for (name, times, in_mode_0) in [
        ("client", &core.encrypting_client, &core.client),
        ("server", &core.encrypting_server, &core.server),
    ] {
        let base = core.multiplications.plus(in_mode_0);
        let _ = writeln!(
            text,
            "| {name} | {:.1} µs | {} |",
            1e6 * times.median(),
            ratio(times.against(&base))
        );
    }
    text
}

pub fn crowd(results: &Results) -> String {
    let mut text = "\
## Many clients at once

Logins a second over tokio, with both ends and the kernel on one core, including connecting and closing; and the CPU
time of one login.

| | 1 client | 100 clients | 1,000 clients | CPU at 1 | CPU at 100 | CPU at 1,000 | 1,000 relative to 1 |
|---|---:|---:|---:|---:|---:|---:|---:|
"
    .to_owned();
    for (id, rates) in &results.crowd {
        let Ok(rates) = rates else {
            let _ = writeln!(text, "| {} | not run | | | | | | |", id.name());
            continue;
        };
        let [one, hundred, thousand] =
            (rates.wall.each_ref()).map(|sample| grouped(1.0 / sample.median()));
        let [at_one, at_hundred, at_thousand] =
            (rates.cpu.each_ref()).map(|sample| format!("{:.0} µs", 1e6 * sample.median()));
        let flat = rates.cpu[2].against(&rates.cpu[0]).median;
        let _ = writeln!(
            text,
            "| {} | {one} | {hundred} | {thousand} | {at_one} | {at_hundred} | {at_thousand} | {flat:.2} |",
            emphasised(*id)
        );
    }
    text
}

pub fn pending(results: &Results) -> String {
    let mut text = "\
## A pending login

Bytes of heap that the server's end and its task under tokio hold: while the client is silent, and after the client's
opening, which is what a client sends before it has received anything. The floor, countersign, the recipe and
`multiprocessing` have no opening, because their server sends first. A client needs the secret to make the opening of
Noise and of TLS with a PSK, but not to make the opening of mutual TLS and of SCRAM.

| | silent | after the client's opening |
|---|---:|---:|
"
    .to_owned();
    for (id, pending) in &results.pending {
        let _ = match pending {
            Ok(pending) => writeln!(
                text,
                "| {} | {} | {} |",
                emphasised(*id),
                grouped(pending.silent),
                grouped(pending.opened)
            ),
            Err(_) => writeln!(text, "| {} | not run | |", id.name()),
        };
    }
    text
}

pub fn records(results: &Results) -> String {
    let mut text = "\
## Records

Over loopback, both ends on one core. Each record is one write. The *bare* rows are a program that makes the same
records with the primitive alone, in a buffer that it writes to the socket.
"
    .to_owned();
    for (size, flows) in &results.records {
        let _ = write!(
            text,
            "
| {} | throughput | times the speed of mode 1 (quartiles) | times the speed of mode 2 (quartiles) | system calls a record, sender and receiver | allocations a record |
|---|---:|---|---|---|---:|
",
            size.records()
        );
        for (kind, flow) in flows {
            let Ok(flow) = flow else {
                let _ = writeln!(text, "| {} | not run | | | | |", kind.name());
                continue;
            };
            let speed = |of: Kind| {
                let of = results.records(*size, of);
                of.map_or_else(String::new, |of| ratio(of.times.against(&flow.times)))
            };
            let [sender, receiver] = flow.calls();
            let _ = writeln!(
                text,
                "| {} | {:.0} MiB/s | {} | {} | {sender:.2}, {receiver:.2} | {} |",
                kind.name(),
                size.mebibytes() / flow.times.median(),
                speed(Kind::Protect),
                speed(Kind::Encrypt),
                allocations(flow)
            );
        }
    }
    text
}

fn allocations(flow: &Flow) -> String {
    if !COUNTED {
        return "not counted".to_owned();
    }
    match flow.allocations() {
        0.0 => "none".to_owned(),
        some => format!("{some:.2}"),
    }
}

pub fn idle(results: &Results) -> String {
    let mut text = "\
## An idle secured stream

Bytes that a stream of countersign takes beyond its socket, with its heap, after a record has come each way.

| | |
|---|---:|
"
    .to_owned();
    for (name, bytes) in &results.idle {
        let bytes = (bytes.as_ref()).map_or_else(|_| "not run".to_owned(), |bytes| grouped(*bytes));
        let _ = writeln!(text, "| {name} | {bytes} |");
    }
    text
}

pub fn builds(results: &Results) -> String {
    if results.builds.is_empty() {
        return String::new();
    }
    let mut text = "\
## Building the smallest program

`cargo build --release` into an empty directory, without downloads. The crates are all that are compiled, including the
program.

| | time | crates | relative to the first |
|---|---:|---:|---:|
"
    .to_owned();
    let first = results
        .builds
        .first()
        .and_then(|(_, build)| build.as_ref().ok());
    for (name, build) in &results.builds {
        let Ok(build) = build else {
            let _ = writeln!(text, "| {name} | not run | | |");
            continue;
        };
        let beside = |first: &Sample| build.times.median() / first.median();
        let _ = writeln!(
            text,
            "| {name} | {:.1} s | {} | {} |",
            build.times.median(),
            build.crates,
            first.map_or_else(String::new, |first| format!("{:.2}", beside(&first.times)))
        );
    }
    text
}

/// Highlights countersign's native protocol.
fn emphasised(id: Id) -> String {
    if id.is_native() {
        format!("**{}**", id.name())
    } else {
        id.name().to_owned()
    }
}

fn ratio(ratio: Quartiles) -> String {
    let Quartiles {
        lower,
        median,
        upper,
    } = ratio;
    format!("{median:.2} ({lower:.2} to {upper:.2})")
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "some thousands, or millions at most"
)]
pub fn grouped(number: f64) -> String {
    thousands(number.round() as u64)
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
