use snow::Builder;

fn main() {
    let params = "Noise_NNpsk0_25519_AESGCM_SHA256".parse().unwrap();
    let builder = Builder::new(params).psk(0, b"what both ends of this one share").unwrap();
    let mut end = if std::env::args().len() > 1 {
        builder.build_responder().unwrap()
    } else {
        builder.build_initiator().unwrap()
    };
    let mut message = [0; 256];
    let len = end.write_message(&[], &mut message).unwrap();
    println!("{:?}", &message[..len]);
}
