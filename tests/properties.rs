//! Properties of all inputs, tried on random ones. A failing input is reduced before it is shown.

use countersign::handshake::{
    Authenticate, Error, Incompatible, Progress, Prologue, Protect, Receive,
};
use countersign::{Binding, Key, Session, compat};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::support::{
    AnyMode, Draws, NoEntropy, Pair, Run, Schedule, TempDir, deliver, f1, feed, foreign, hmac, key,
    lv, secret, untagged_f2,
};

proptest! {
    // Otherwise proptest would write a file of failures beside the sources.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_a_proof_covers_has_one_reading_only(covered in covered(), edits in edits()) {
        let bytes = covered.encode();
        prop_assert_eq!(Covered::parse(&bytes), Some(covered));

        // Other bytes have at most one reading, and a part of them has none.
        let edited = apply(&edits, bytes);
        if let Some(read) = Covered::parse(&edited) {
            prop_assert_eq!(read.encode(), edited);
        }
    }

    #[test]
    fn a_proof_covers_what_the_specification_says(covered in covered()) {
        let expected = hmac(&Schedule::of(&secret("a")).kc, &covered.encode());
        prop_assert_eq!(covered.proof(), expected);
    }

    #[test]
    fn proofs_over_different_inputs_differ(covered in covered(), other in neighbour()) {
        let other = other.of(&covered);
        prop_assert_eq!(covered.proof() == other.proof(), covered == other);
    }

    #[test]
    fn a_message_has_one_outcome_however_it_is_cut(
        id in vec(any::<u8>(), 0..=64),
        modes in [mode(), mode()],
        edits in edits(),
        cuts in vec(1..50_usize, 0..60),
        which in 0..3_usize,
    ) {
        let pair = Pair::of(&key("a").with_id(id).unwrap());
        let [senders, own] = modes;
        let message = apply(&edits, pair.run_in_mode(senders).sent.swap_remove(which));

        let outcomes = [&cuts[..], &[]].map(|cuts| match own {
            0 => outcome_of(&pair, Authenticate, which, &message, cuts),
            _ => outcome_of(&pair, Protect, which, &message, cuts),
        });
        let [in_pieces, whole] = outcomes;
        // Only how much had come of something foreign depends on the pieces.
        let in_pieces = in_pieces.map_err(|error| match error {
            Error::Incompatible(Incompatible::Foreign { awaiting, .. }) => {
                foreign(awaiting, &message).into()
            }
            error => error,
        });
        prop_assert_eq!(in_pieces, whole);
    }

    #[test]
    fn no_two_exports_have_a_beginning_of_sixteen_bytes_in_common(
        (one, other) in exports(),
    ) {
        let [session, _] = Pair::of(&key("a")).run().sessions();
        let [one_out, other_out] = [&one, &other]
            .map(|(label, context, len)| export(&session, label, context, *len));
        prop_assert_eq!(one_out[..16] == other_out[..16], one == other);
    }

    #[test]
    fn the_secret_of_a_compatibility_protocol_survives_a_file_whatever_it_is(
        bytes in vec(any::<u8>(), 16..200),
        end in prop_oneof![Just(&b"\n"[..]), Just(&b"\r\n"[..])],
    ) {
        // A CR at the end of a secret and the LF behind it would be one line end.
        prop_assume!(!(bytes.ends_with(b"\r") && end == b"\n"));
        let directory = TempDir::new();
        let path = directory.key_file("secret", [&bytes, end].concat());
        prop_assert_eq!(&*compat::secret_from_file(path).unwrap(), &bytes);
    }

    #[test]
    fn the_secrets_of_a_key_file_survive_it_with_line_ends_of_either_kind(
        first in visible(),
        accept in option::of(visible()),
        between in line_end(),
        end in prop_oneof![line_end(), Just("")],
    ) {
        let accept_line = accept.as_ref().map(|secret| format!("{between}accept:{secret}"));
        let content = format!("{first}{}{end}", accept_line.unwrap_or_default());
        let directory = TempDir::new();
        let path = directory.key_file("secret.key", content);

        let loaded = Key::from_file(&path).unwrap();
        prop_assert_eq!(proof_of(&loaded), proof_of(&Key::new(&first).unwrap()));
        let expected = accept.map(|secret| Key::new(secret).unwrap().fingerprint());
        prop_assert_eq!(loaded.accepted_fingerprint(), expected);
    }
}

/// A secret for a key file, which a first line may be too.
fn visible() -> impl Strategy<Value = String> {
    let secret = "[!-~]{16,200}";
    secret.prop_filter(
        "all bytes are equal, it is in quotation marks, or it begins like another file",
        |secret| {
            let constant = secret.bytes().all(|byte| byte == secret.as_bytes()[0]);
            let quoted = ['"', '\''].map(|mark| secret.starts_with(mark) && secret.ends_with(mark));
            let foreign = ["accept:", "-----BEGIN"].map(|mark| secret.starts_with(mark));
            !(constant || quoted.contains(&true) || foreign.contains(&true))
        },
    )
}

fn line_end() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("\n"), Just("\r\n")]
}

#[test]
fn the_longest_handshake_is_covered_whole() {
    let longest = Covered {
        service: vec![b's'; 255],
        exported: Some([7; 32]),
        mode: 1,
        server_nonce: [0x50; 32],
        key_id: vec![b'k'; 64],
        client_nonce: [0xc0; 32],
    };
    let keys = Schedule::of(&secret("a"));
    assert_eq!(longest.proof(), hmac(&keys.kc, &longest.encode()));
    // The server's proof covers the end of the handshake too.
    let run = longest.run();
    let [f1, f2, f3] = run.messages();
    let binding = [&b"tls-exporter:"[..], &[7; 32]].concat();
    let prologue = [lv(&longest.service), lv(&binding)].concat();
    assert_eq!(f3, keys.acceptance(&prologue, f1, f2));
    assert!(run.client.is_accepted());
}

/// What a client's proof covers, apart from the names of the protocol.
#[derive(Clone, Debug, PartialEq)]
struct Covered {
    service: Vec<u8>,
    exported: Option<[u8; 32]>,
    mode: u8,
    server_nonce: [u8; 32],
    key_id: Vec<u8>,
    client_nonce: [u8; 32],
}

impl Covered {
    /// `LV(service) | LV(binding) | F1 | F2 without Tc`, from PROTOCOL.md.
    fn encode(&self) -> Vec<u8> {
        let binding = self
            .exported
            .map(|exported| [b"tls-exporter:", &exported[..]].concat());
        [
            lv(&self.service),
            lv(&binding.unwrap_or_default()),
            f1(self.mode, &self.server_nonce),
            untagged_f2(self.mode, &self.key_id, &self.client_nonce),
        ]
        .concat()
    }

    /// Returns the only reading of these bytes, or `None` if they have none.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
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

    /// The handshake of two ends that are given all this.
    fn run(&self) -> Run {
        let mut prologue = Prologue::new(&self.service).unwrap();
        if let Some(exported) = &self.exported {
            prologue = prologue.bound(Some(&Binding::tls_exporter(exported)));
        }
        let pair = Pair {
            client_draws: Draws::of(self.client_nonce),
            server_draws: Draws::of(self.server_nonce),
            ..Pair::of(&key("a").with_id(&self.key_id).unwrap())
        };
        pair.with_prologues(prologue.clone(), prologue)
            .run_in_mode(self.mode)
    }

    /// Tc as the crate computes it.
    fn proof(&self) -> [u8; 32] {
        *self.run().sent[1].last_chunk().unwrap()
    }
}

fn take<'o>(bytes: &mut &'o [u8], len: usize) -> Option<&'o [u8]> {
    bytes.split_off(..len)
}

fn take_lv<'o>(bytes: &mut &'o [u8]) -> Option<&'o [u8]> {
    let len = *bytes.split_off_first()?;
    take(bytes, usize::from(len))
}

fn take_header(bytes: &mut &[u8], name: [u8; 7]) -> Option<u8> {
    match take(bytes, 8)? {
        [rest @ .., mode @ 0..=1] if rest == name => Some(*mode),
        _ => None,
    }
}

/// Equal for two keys only if their secrets are equal.
fn proof_of(key: &Key) -> Vec<u8> {
    Pair::of(key).run().sent[1].clone()
}

fn mode() -> impl Strategy<Value = u8> {
    0..=1_u8
}

fn covered() -> impl Strategy<Value = Covered> {
    let bytes = |most| prop_oneof![vec(any::<u8>(), 0..4), vec(any::<u8>(), 0..=most)];
    (
        bytes(255),
        any::<Option<[u8; 32]>>(),
        mode(),
        any::<[u8; 32]>(),
        bytes(64),
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

/// Another value of one field, or of two fields that follow each other.
#[derive(Clone, Debug)]
enum Neighbour {
    Service(Vec<u8>),
    Exported(Option<[u8; 32]>),
    Mode(u8),
    ServerNonce([u8; 32]),
    KeyId(Vec<u8>),
    ClientNonce([u8; 32]),
    /// The last bytes of the key id are moved to the nonce behind it.
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

/// No edit in half of the cases, otherwise a few.
fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let edit = prop_oneof![
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Edit::Flip(at, 1 << bit)),
        any::<(Index, u8)>().prop_map(|(at, byte)| Edit::Insert(at, byte)),
        any::<Index>().prop_map(Edit::Remove),
        any::<Index>().prop_map(Edit::Truncate),
    ];
    prop_oneof![Just(Vec::new()), vec(edit, 1..4)]
}

fn apply(edits: &[Edit], mut bytes: Vec<u8>) -> Vec<u8> {
    for edit in edits {
        if bytes.is_empty() {
            break;
        }
        match edit {
            Edit::Flip(at, bits) => *at.get_mut(&mut bytes) ^= bits,
            Edit::Insert(at, byte) => bytes.insert(at.index(bytes.len() + 1), *byte),
            Edit::Remove(at) => drop(bytes.remove(at.index(bytes.len()))),
            Edit::Truncate(at) => bytes.truncate(at.index(bytes.len())),
        }
    }
    bytes
}

/// What a state goes on with and how many bytes it leaves, or `None` if it waits for more.
type Outcome = Result<Option<(Vec<u8>, usize)>, Error>;

/// Feeds the state of this mode that awaits the message of this number.
fn outcome_of<M: AnyMode>(
    pair: &Pair,
    mode: M,
    which: usize,
    message: &[u8],
    cuts: &[usize],
) -> Outcome {
    match which {
        0 => outcome(pair.client_in(mode), message, cuts, |state| {
            state.response().to_vec()
        }),
        1 => outcome(pair.server_in(mode).1, message, cuts, |identified| {
            let id = identified.key_id().as_bytes().to_vec();
            let (verdict, session) = identified
                .verify(pair.server_key.as_ref(), &mut NoEntropy)
                .unwrap();
            let accepted = session.is_ok().to_string();
            [&id, verdict.as_ref(), accepted.as_bytes()].concat()
        }),
        _ => {
            let (challenge, _) = pair.server_in(mode);
            let state = deliver(pair.client_in(mode), challenge).unwrap();
            outcome(state, message, cuts, |established| {
                M::accepted(established).exported().to_vec()
            })
        }
    }
}

/// Feeds a state a message in pieces of these lengths, and then the rest of it.
fn outcome<R: Receive<Error = Error>>(
    mut state: R,
    mut message: &[u8],
    cuts: &[usize],
    seen: impl FnOnce(R::Next) -> Vec<u8>,
) -> Outcome {
    for &cut in cuts {
        let (piece, rest) = message.split_at(cut.min(message.len()));
        match feed(state, piece, usize::MAX)? {
            (Progress::More(same), _) => state = same,
            (Progress::Done(next), left) => return Ok(Some((seen(next), left + rest.len()))),
        }
        message = rest;
    }
    Ok(match feed(state, message, usize::MAX)? {
        (Progress::More(_), _) => None,
        (Progress::Done(next), left) => Some((seen(next), left)),
    })
}

type Inputs = (Vec<u8>, Vec<u8>, usize);

/// Two sets of inputs. They are equal, or differ in the length of the output, in the border between
/// label and context, in the length of the label alone, or in everything.
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
                    let bytes = [&label[..], context].concat();
                    let (label, context) = bytes.split_at(1 + border.index(bytes.len()));
                    (label.to_vec(), context.to_vec(), one.2)
                }
                3 => {
                    let counted = |bytes: &[u8]| {
                        let len = u16::try_from(bytes.len()).unwrap().to_be_bytes();
                        [&len, bytes].concat()
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

fn export(session: &Session, label: &[u8], context: &[u8], len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    session.export(label, context, &mut out).unwrap();
    out
}
