//! What connections cost, and what they leave behind.

use super::role::{Limit, Role};
use super::scenes::LISTENERS;

pub fn print(measures: bool) {
    let (pending, short) = if measures { (1000, 200_000) } else { (50, 200) };
    println!("\n### Connections that stay, and connections that go\n");
    for server in LISTENERS {
        let each = resident(server, pending);
        println!(
            "- {server}: {each:.1} KiB of resident memory for each of {pending} silent connections"
        );
    }
    for server in LISTENERS {
        let [first, last] = left(server, short);
        println!(
            "- {server}: {first} after {} short connections, {last} after {short}",
            short / 10
        );
    }
}

fn serve(server: &str, cap: u32) -> (Role, String) {
    let arguments = [
        "serve".to_owned(),
        server.to_owned(),
        cap.to_string(),
        "0".to_owned(),
    ];
    let mut role = Role::start(Limit::Raised, &arguments);
    let address = role.says();
    (role, address)
}

fn come_and_go(address: &str, count: u32) {
    let arguments = [
        "come-and-go".to_owned(),
        address.to_owned(),
        count.to_string(),
    ];
    Role::start(Limit::Raised, &arguments).ends();
}

/// Returns the resident memory of the server for each silent connection, in KiB.
fn resident(server: &str, count: u32) -> f64 {
    // So that none is evicted.
    let (server, address) = serve(server, 2 * count);
    // What the server needs once.
    come_and_go(&address, 100);
    let before = server.status("VmRSS:");
    let attack = ["attack", &address, "2000", "0", &count.to_string()].map(str::to_owned);
    let mut attacker = Role::start(Limit::Raised, &attack);
    attacker.says();
    settled(&server, Role::descriptors);
    let more = server.status("VmRSS:").saturating_sub(before);
    f64::from(u32::try_from(more).unwrap()) / f64::from(count)
}

/// Returns what the server has after a tenth of the connections and after all.
fn left(server: &str, count: u32) -> [String; 2] {
    let (server, address) = serve(server, 192);
    let after = |count| {
        come_and_go(&address, count);
        settled(&server, |server| {
            server.descriptors() + server.status("Threads:")
        });
        format!(
            "{} descriptors, {} threads and {} KiB",
            server.descriptors(),
            server.status("Threads:"),
            server.status("VmRSS:")
        )
    };
    [after(count / 10), after(count - count / 10)]
}

/// Waits until a number of the server stays the same.
fn settled(server: &Role, number: impl Fn(&Role) -> usize) {
    let mut before = usize::MAX;
    loop {
        let now = number(server);
        if now == before {
            return;
        }
        before = now;
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}
