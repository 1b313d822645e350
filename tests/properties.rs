//! What holds of all inputs, tried on random ones; a failing input is reduced before it is shown.

use std::fs::OpenOptions;
use std::io::Write as _;

use countersign::handshake::{self, Mode, Prologue, Receive, client, server};
use countersign::{Binding, Key, Session};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::support::{End, Fed, Nonce, Pair, TempDir, deliver, feed, hmac, secret, transcript};

proptest! {
    // A file of failures beside the sources would be one more thing to keep.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_a_proof_covers_can_be_read_in_one_way_only(covered in covered(), edits in edits()) {
        let octets = covered.encode();
        prop_assert_eq!(Covered::parse(&octets), Some(covered));

        // Of other octets, too, no two readings are possible, and none of a part.
        let edited = apply(&edits, octets);
        if let Some(read) = Covered::parse(&edited) {
            prop_assert_eq!(read.encode(), edited);
        }
    }

    #[test]
    fn a_proof_covers_what_the_specification_says(covered in covered()) {
        let kc = client_key_of(&secret("a"));
        prop_assert_eq!(covered.proof(), hmac(&kc, &covered.encode()));
    }

    #[test]
    fn proofs_over_different_inputs_differ(covered in covered(), other in neighbour()) {
        let other = other.of(&covered);
        prop_assert_eq!(covered.proof() == other.proof(), covered == other);
    }

    #[test]
    fn a_flight_has_one_outcome_however_it_is_cut(
        id in vec(any::<u8>(), 0..=64),
        modes in [mode(), mode()],
        edits in edits(),
        cuts in vec(1..50_usize, 0..60),
        which in 0..3_usize,
    ) {
        let key = Key::new(secret("a")).unwrap().with_id(id).unwrap();
        let [client_mode, server_mode] = modes;
        let honest = Pair { client_mode: server_mode, server_mode, ..Pair::of(&key) }.run();
        let flight = apply(&edits, honest.sent[which].clone());

        let outcomes = [&cuts[..], &[]].map(|cuts| match which {
            0 => {
                let state = client::start(
                    transcript(),
                    &Prologue::EMPTY,
                    client_mode,
                    &key,
                    &mut Nonce([0xc0; 32]),
                );
                outcome(state.unwrap(), &flight, cuts, |(response, _)| response.as_ref().to_vec())
            }
            1 => {
                let config = server::Config::new(Prologue::EMPTY);
                let (_, state) = config
                    .start(transcript(), server_mode, &mut Nonce([0x50; 32]))
                    .unwrap();
                outcome(state, &flight, cuts, |identified| {
                    let id = identified.key_id().as_bytes().to_vec();
                    let (verdict, session) = identified.verify(Some(&key));
                    [&id, verdict.as_ref(), session.is_ok().to_string().as_bytes()].concat()
                })
            }
            _ => {
                let state = client::start(
                    transcript(),
                    &Prologue::EMPTY,
                    server_mode,
                    &key,
                    &mut Nonce([0xc0; 32]),
                );
                let (_, state) = deliver(state.unwrap(), &honest.sent[0]).unwrap();
                outcome(state, &flight, cuts, |session| export(&session, b"l", b"", 32))
            }
        });
        prop_assert_eq!(&outcomes[0], &outcomes[1]);
    }

    #[test]
    fn no_two_exports_have_a_beginning_of_sixteen_octets_in_common(
        (one, other) in exports(),
    ) {
        let session = session();
        let [one_out, other_out] = [&one, &other]
            .map(|(label, context, len)| export(&session, label, context, *len));
        prop_assert_eq!(one_out[..16] == other_out[..16], one == other);
    }

    #[test]
    fn a_secret_survives_a_file_with_one_line_end_of_either_kind(
        octets in vec(any::<u8>(), 16..200),
        end in prop_oneof![Just(&b"\n"[..]), Just(&b"\r\n"[..])],
    ) {
        // A CR at the end of a secret would be one with the LF behind it.
        prop_assume!(!(octets.ends_with(b"\r") && end == b"\n"));
        prop_assume!(octets.iter().any(|octet| *octet != octets[0]));
        let directory = TempDir::new();
        let path = directory.path().join("secret.key");
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&path).unwrap().write_all(&[&octets, end].concat()).unwrap();

        let expected = proof_of(&Key::new(&octets).unwrap());
        prop_assert_eq!(proof_of(&Key::from_file(&path).unwrap()), expected);
    }
}

#[test]
fn the_longest_handshake_is_covered_whole() {
    let longest = Covered {
        service: vec![b's'; 255],
        exported: Some([7; 32]),
        mode: Mode::Protect,
        server_nonce: [0x50; 32],
        key_id: vec![b'k'; 64],
        client_nonce: [0xc0; 32],
    };
    let kc = client_key_of(&secret("a"));
    assert_eq!(longest.proof(), hmac(&kc, &longest.encode()));
    // With its end, which the server's proof covers too.
    let key = Key::new(secret("a")).unwrap().with_id(&longest.key_id);
    let prologue = Prologue::new(&longest.service).unwrap();
    let prologue = prologue.bound(&Binding::tls_exporter(&[7; 32]));
    let run = Pair {
        client_prologue: prologue.clone(),
        server_prologue: prologue,
        ..Pair::of(&key.unwrap())
    }
    .run();
    let ks = hmac(
        &hmac(b"countersign/1", &secret("a")),
        b"countersign/1 server proof\x01",
    );
    let lv = |octets: &[u8]| [&[u8::try_from(octets.len()).unwrap()], octets].concat();
    let binding = [&b"tls-exporter:"[..], &[7; 32]].concat();
    let [f1, f2, f3] = &run.sent[..] else {
        panic!("{run:?}");
    };
    let covered = [&lv(&longest.service), &lv(&binding), f1, f2, &b"A"[..]].concat();
    assert_eq!(f3[1..], hmac(&ks, &covered));
    assert!(run.client.is_accepted());
}

/// What a client's proof covers, apart from the names of the protocol.
#[derive(Clone, Debug, PartialEq)]
struct Covered {
    service: Vec<u8>,
    exported: Option<[u8; 32]>,
    mode: Mode,
    server_nonce: [u8; 32],
    key_id: Vec<u8>,
    client_nonce: [u8; 32],
}

impl Covered {
    /// `LV(service) | LV(binding) | F1 | F2 without Tc`, from PROTOCOL.md.
    fn encode(&self) -> Vec<u8> {
        let lv = |octets: &[u8]| [&[u8::try_from(octets.len()).unwrap()], octets].concat();
        let binding = self
            .exported
            .map(|exported| [b"tls-exporter:", &exported[..]].concat());
        let mode = [u8::from(self.mode == Mode::Protect)];
        [
            &lv(&self.service)[..],
            &lv(&binding.unwrap_or_default()),
            b"CSIGN1S",
            &mode,
            &self.server_nonce,
            b"CSIGN1C",
            &mode,
            &lv(&self.key_id),
            &self.client_nonce,
        ]
        .concat()
    }

    /// The one reading of these octets, if they have one.
    fn parse(octets: &[u8]) -> Option<Self> {
        let mut rest = octets;
        let service = take_lv(&mut rest)?.to_vec();
        let exported = match take_lv(&mut rest)? {
            [] => None,
            binding => Some(binding.strip_prefix(b"tls-exporter:")?.try_into().ok()?),
        };
        let mode = take_header(&mut rest, *b"CSIGN1S")?;
        let server_nonce = take(&mut rest, 32)?.try_into().ok()?;
        let same = take_header(&mut rest, *b"CSIGN1C")? == mode;
        let key_id = take_lv(&mut rest)?.to_vec();
        let client_nonce = take(&mut rest, 32)?.try_into().ok()?;
        (same && key_id.len() <= 64 && rest.is_empty()).then_some(Self {
            service,
            exported,
            mode,
            server_nonce,
            key_id,
            client_nonce,
        })
    }

    /// `Tc` of a client of the crate that is given all this.
    fn proof(&self) -> [u8; 32] {
        let key = Key::new(secret("a"))
            .unwrap()
            .with_id(&self.key_id)
            .unwrap();
        let mut prologue = Prologue::new(&self.service).unwrap();
        if let Some(exported) = &self.exported {
            prologue = prologue.bound(&Binding::tls_exporter(exported));
        }
        let nonce = &mut Nonce(self.server_nonce);
        let config = server::Config::new(Prologue::EMPTY);
        let (challenge, _) = config.start(transcript(), self.mode, nonce).unwrap();
        let nonce = &mut Nonce(self.client_nonce);
        let state = client::start(transcript(), &prologue, self.mode, &key, nonce).unwrap();
        let (response, _) = deliver(state, challenge).unwrap();
        *response.as_ref().last_chunk().unwrap()
    }
}

fn take<'o>(octets: &mut &'o [u8], len: usize) -> Option<&'o [u8]> {
    octets.split_off(..len)
}

fn take_lv<'o>(octets: &mut &'o [u8]) -> Option<&'o [u8]> {
    let len = *octets.split_off_first()?;
    take(octets, usize::from(len))
}

fn take_header(octets: &mut &[u8], name: [u8; 7]) -> Option<Mode> {
    match take(octets, 8)? {
        [rest @ .., 0] if rest == name => Some(Mode::Authenticate),
        [rest @ .., 1] if rest == name => Some(Mode::Protect),
        _ => None,
    }
}

/// The key of a client's proofs, from PROTOCOL.md.
fn client_key_of(secret: &[u8]) -> [u8; 32] {
    let prk = hmac(b"countersign/1", secret);
    hmac(&prk, b"countersign/1 client proof\x01")
}

/// Two keys are one key where this is the same.
fn proof_of(key: &Key) -> Vec<u8> {
    Pair::of(key).run().sent[1].clone()
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Authenticate), Just(Mode::Protect)]
}

fn covered() -> impl Strategy<Value = Covered> {
    let octets = |most| prop_oneof![vec(any::<u8>(), 0..4), vec(any::<u8>(), 0..=most)];
    (
        octets(255),
        any::<Option<[u8; 32]>>(),
        mode(),
        any::<[u8; 32]>(),
        octets(64),
        any::<[u8; 32]>(),
    )
        .prop_map(
            |(service, exported, mode, server_nonce, key_id, client_nonce)| Covered {
                service,
                exported,
                mode,
                server_nonce,
                key_id,
                client_nonce,
            },
        )
}

/// Another value of one field, or of a pair whose octets meet.
#[derive(Clone, Debug)]
enum Neighbour {
    Service(Vec<u8>),
    Exported(Option<[u8; 32]>),
    Mode(Mode),
    ServerNonce([u8; 32]),
    KeyId(Vec<u8>),
    ClientNonce([u8; 32]),
    /// The first octets of the nonce are those of the key id before it.
    Moved(Index),
    None,
}

impl Neighbour {
    fn of(self, covered: &Covered) -> Covered {
        let covered = covered.clone();
        match self {
            Self::Service(service) => Covered { service, ..covered },
            Self::Exported(exported) => Covered {
                exported,
                ..covered
            },
            Self::Mode(mode) => Covered { mode, ..covered },
            Self::ServerNonce(server_nonce) => Covered {
                server_nonce,
                ..covered
            },
            Self::KeyId(key_id) => Covered { key_id, ..covered },
            Self::ClientNonce(client_nonce) => Covered {
                client_nonce,
                ..covered
            },
            Self::Moved(index) => {
                let at = index.index(covered.key_id.len() + 1);
                let (kept, moved) = covered.key_id.split_at(at);
                let nonce = [moved, &covered.client_nonce].concat();
                Covered {
                    key_id: kept.to_vec(),
                    client_nonce: *nonce.first_chunk().unwrap(),
                    ..covered
                }
            }
            Self::None => covered,
        }
    }
}

fn neighbour() -> impl Strategy<Value = Neighbour> {
    prop_oneof![
        vec(any::<u8>(), 0..=255).prop_map(Neighbour::Service),
        any::<Option<[u8; 32]>>().prop_map(Neighbour::Exported),
        mode().prop_map(Neighbour::Mode),
        any::<[u8; 32]>().prop_map(Neighbour::ServerNonce),
        vec(any::<u8>(), 0..=64).prop_map(Neighbour::KeyId),
        any::<[u8; 32]>().prop_map(Neighbour::ClientNonce),
        any::<Index>().prop_map(Neighbour::Moved),
        Just(Neighbour::None),
    ]
}

#[derive(Clone, Debug)]
enum Edit {
    Flip(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Truncate(Index),
}

/// None at all in one of two cases.
fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let edit = prop_oneof![
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Edit::Flip(at, 1 << bit)),
        any::<(Index, u8)>().prop_map(|(at, octet)| Edit::Insert(at, octet)),
        any::<Index>().prop_map(Edit::Remove),
        any::<Index>().prop_map(Edit::Truncate),
    ];
    prop_oneof![Just(Vec::new()), vec(edit, 1..4)]
}

fn apply(edits: &[Edit], mut octets: Vec<u8>) -> Vec<u8> {
    for edit in edits {
        if octets.is_empty() {
            break;
        }
        match edit {
            Edit::Flip(at, bits) => *at.get_mut(&mut octets) ^= bits,
            Edit::Insert(at, octet) => octets.insert(at.index(octets.len() + 1), *octet),
            Edit::Remove(at) => drop(octets.remove(at.index(octets.len()))),
            Edit::Truncate(at) => octets.truncate(at.index(octets.len())),
        }
    }
    octets
}

/// What becomes of a state that is fed a flight in pieces of these lengths, and then the rest of
/// it: what it goes on with and how many octets it leaves, its error, or that it waits.
fn outcome<R: Receive>(
    mut state: R,
    mut flight: &[u8],
    cuts: &[usize],
    seen: impl FnOnce(R::Next) -> Vec<u8>,
) -> Result<Option<(Vec<u8>, usize)>, handshake::Error> {
    for &cut in cuts {
        let (piece, rest) = flight.split_at(cut.min(flight.len()));
        match feed(state, piece, usize::MAX)? {
            Fed::Waiting(same) => state = same,
            Fed::Done(next, left) => return Ok(Some((seen(next), left + rest.len()))),
        }
        flight = rest;
    }
    Ok(match feed(state, flight, usize::MAX)? {
        Fed::Waiting(_) => None,
        Fed::Done(next, left) => Some((seen(next), left)),
    })
}

type Inputs = (Vec<u8>, Vec<u8>, usize);

/// Two sets of inputs that are alike: equal, of another length, with the border between label and
/// context at another place, or of the same octets but for the length of the label; or two that
/// have nothing to do with each other.
fn exports() -> impl Strategy<Value = (Inputs, Inputs)> {
    let len = || 16..200_usize;
    let inputs = (vec(any::<u8>(), 1..40), vec(any::<u8>(), 0..40), len());
    (inputs.clone(), inputs, len(), any::<Index>(), 0..5).prop_map(
        |(one, another, len, border, kind)| {
            let (label, context, _) = &one;
            let other = match kind {
                0 => one.clone(),
                1 => (label.clone(), context.clone(), len),
                2 => {
                    let octets = [&label[..], context].concat();
                    let (label, context) = octets.split_at(1 + border.index(octets.len()));
                    (label.to_vec(), context.to_vec(), one.2)
                }
                3 => {
                    let counted = |octets: &[u8]| {
                        let len = u16::try_from(octets.len()).unwrap().to_be_bytes();
                        [&len, octets].concat()
                    };
                    let (middle, rest, _) = another;
                    let longer = [middle.clone(), counted(&rest)].concat();
                    let mut label_too = [&label[..], &counted(&longer)].concat();
                    label_too.truncate(label.len() + 2 + middle.len());
                    let other = (label_too, rest, one.2);
                    return ((label.clone(), longer, one.2), other);
                }
                _ => another,
            };
            (one, other)
        },
    )
}

fn session() -> Session {
    let run = Pair::of(&Key::new(secret("a")).unwrap()).run();
    match run.client {
        End::Accepted(session) => session,
        other => panic!("{other:?}"),
    }
}

fn export(session: &Session, label: &[u8], context: &[u8], len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    session.export(label, context, &mut out).unwrap();
    out
}
