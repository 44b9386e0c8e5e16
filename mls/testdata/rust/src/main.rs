//! A peer of package mls in Rust: byte-level vectors of suite 65100, figures to compare with, and members of mixed groups.

use mls_rs::client_builder::MlsConfig;
use mls_rs::group::ReceivedMessage;
use mls_rs::identity::basic::{BasicCredential, BasicIdentityProvider};
use mls_rs::identity::SigningIdentity;
use mls_rs::{CipherSuite, CipherSuiteProvider, Client, CryptoProvider, ExtensionList, Group, MlsMessage};
use mls_rs_core::crypto::{HpkeCiphertext, HpkeContextR, HpkeContextS, HpkePublicKey, HpkeSecretKey, SignatureSecretKey};
use mls_rs_crypto_awslc::AwsLcCryptoProvider;
use serde_json::{json, Value};
use std::collections::HashMap;
use std::io::{BufRead, Read, Write};
use std::time::Instant;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("vectors") => vectors(),
        Some("open") => open(),
        Some("bench") => bench(&args[2..]),
        Some("serve") => serve(client),
        _ => {
            eprintln!("usage: mls-peer vectors | open <sealed.json | bench SUITE MEMBERS... | serve");
            std::process::exit(2);
        }
    }
}

fn provider(suite: CipherSuite) -> impl CipherSuiteProvider {
    AwsLcCryptoProvider::new().cipher_suite_provider(suite).expect("suite")
}

/// Bytes that are the same in every run.
fn fixed(seed: u8, n: usize) -> Vec<u8> {
    (0..n).map(|i| seed.wrapping_mul(31).wrapping_add(i as u8)).collect()
}

fn vectors() {
    let s = provider(CipherSuite::ML_KEM_768_X25519);
    let mut cases = Vec::new();
    for i in 0..4u8 {
        let ikm = fixed(i, 32 + 16 * i as usize);
        let (sk, pk) = s.kem_derive(&ikm).unwrap();
        let (info, aad, text) = (fixed(i + 10, 20), fixed(i + 20, i as usize * 7), fixed(i + 30, 50));
        let sealed = s.hpke_seal(&pk, &info, Some(&aad), &text).unwrap();
        let (kem, sender) = s.hpke_setup_s(&pk, &info).unwrap();
        let exported = sender.export(b"exporter context", 32).unwrap();
        let receiver = s.hpke_setup_r(&kem, &sk, &pk, &info).unwrap();
        assert_eq!(*receiver.export(b"exporter context", 32).unwrap(), *exported);

        let (salt, label) = (fixed(i + 40, 32), fixed(i + 50, 13));
        let prk = s.kdf_extract(&salt, &ikm).unwrap();
        let expanded = s.kdf_expand(&prk, &label, 48).unwrap();
        let (key, nonce) = (fixed(i + 60, s.aead_key_size()), fixed(i + 70, s.aead_nonce_size()));
        let (signer, verifier) = s.signature_key_generate().unwrap();
        cases.push(json!({
            "ikm": hex::encode(&ikm),
            "private_key": hex::encode(sk.as_ref()),
            "public_key": hex::encode(pk.as_ref()),
            "seal": {
                "info": hex::encode(&info), "aad": hex::encode(&aad), "plaintext": hex::encode(&text),
                "kem_output": hex::encode(&sealed.kem_output), "ciphertext": hex::encode(&sealed.ciphertext),
            },
            "export": {
                "info": hex::encode(&info), "kem_output": hex::encode(&kem),
                "context": hex::encode(b"exporter context"), "secret": hex::encode(&*exported),
            },
            "hash": {"data": hex::encode(&ikm), "out": hex::encode(s.hash(&ikm).unwrap())},
            "mac": {"key": hex::encode(&salt), "data": hex::encode(&ikm), "out": hex::encode(s.mac(&salt, &ikm).unwrap())},
            "kdf": {"salt": hex::encode(&salt), "prk": hex::encode(&*prk), "info": hex::encode(&label), "out": hex::encode(&*expanded)},
            "aead": {
                "key": hex::encode(&key), "nonce": hex::encode(&nonce), "aad": hex::encode(&aad), "plaintext": hex::encode(&text),
                "ciphertext": hex::encode(s.aead_seal(&key, &text, Some(&aad), &nonce).unwrap()),
            },
            "signature": {
                "private_key": hex::encode(signer.as_ref()), "public_key": hex::encode(verifier.as_ref()),
                "data": hex::encode(&text), "signature": hex::encode(s.sign(&signer, &text).unwrap()),
            },
        }));
    }
    println!("{}", serde_json::to_string_pretty(&cases).unwrap());
}

/// Opens what another implementation sealed: the form of "seal" above with private_key and public_key beside it.
fn open() {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).unwrap();
    let s = provider(CipherSuite::ML_KEM_768_X25519);
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    let bytes = |v: &Value| hex::decode(v.as_str().unwrap()).unwrap();
    for c in &cases {
        let seal = &c["seal"];
        let sealed = HpkeCiphertext { kem_output: bytes(&seal["kem_output"]), ciphertext: bytes(&seal["ciphertext"]) };
        let sk: HpkeSecretKey = bytes(&c["private_key"]).into();
        let pk: HpkePublicKey = bytes(&c["public_key"]).into();
        let got = s.hpke_open(&sealed, &sk, &pk, &bytes(&seal["info"]), Some(&bytes(&seal["aad"]))).unwrap();
        assert_eq!(*got, bytes(&seal["plaintext"]));
    }
    println!("{} opened", cases.len());
}

fn client(suite: CipherSuite, name: &str) -> Client<impl MlsConfig> {
    let (secret, public) = provider(suite).signature_key_generate().unwrap();
    named(suite, name, secret, SigningIdentity::new(BasicCredential::new(name.as_bytes().to_vec()).into_credential(), public))
}

fn named(suite: CipherSuite, _: &str, secret: SignatureSecretKey, identity: SigningIdentity) -> Client<impl MlsConfig> {
    Client::builder()
        .identity_provider(BasicIdentityProvider)
        .crypto_provider(AwsLcCryptoProvider::new())
        .signing_identity(identity, secret, suite)
        .build()
}

/// Median time of f in nanoseconds; before runs ahead of each and is not counted.
fn time<T>(n: usize, mut before: impl FnMut() -> T, mut f: impl FnMut(T)) -> u128 {
    let mut all: Vec<u128> = (0..n)
        .map(|_| {
            let given = before();
            let begun = Instant::now();
            f(given);
            begun.elapsed().as_nanos()
        })
        .collect();
    all.sort();
    all[all.len() / 2]
}

fn print(op: &str, members: usize, ns: u128) {
    println!("{}", json!({"op": op, "members": members, "ns": ns as u64}));
}

fn process<C: MlsConfig>(g: &mut Group<C>, m: MlsMessage) {
    match g.process_incoming_message(m).unwrap() {
        ReceivedMessage::Commit(_) | ReceivedMessage::ApplicationMessage(_) => {}
        other => panic!("{other:?}"),
    }
}

/// How many members commit once before the figures of a settled tree, spread over it.
const SPREAD: usize = 16;

fn bench(args: &[String]) {
    let suite = CipherSuite::from(args[0].parse::<u16>().unwrap());
    for n in args[1..].iter().map(|n| n.parse::<usize>().unwrap()) {
        let creator = client(suite, "creator");
        let mut group = creator.create_group(ExtensionList::new(), ExtensionList::new(), None).unwrap();
        let others: Vec<_> = (1..n).map(|i| client(suite, &format!("member {i}"))).collect();
        let mut builder = group.commit_builder();
        for o in &others {
            builder = builder
                .add_member(o.generate_key_package_message(ExtensionList::new(), ExtensionList::new(), None).unwrap())
                .unwrap();
        }
        let out = builder.build().unwrap();
        group.apply_pending_commit().unwrap();
        let welcome = &out.welcome_messages[0];
        let repeats = if n >= 1000 { 5 } else { 20 };

        let last = others.last().unwrap();
        print("join", n, time(repeats.min(5), || (), |_| {
            last.join_group(None, welcome, None).unwrap();
        }));
        let mut reader = last.join_group(None, welcome, None).unwrap().0;

        for (op, size) in [("100 B", 100), ("1 KiB", 1024)] {
            let text = vec![7u8; size];
            print(&format!("protect {op}"), n, time(200, || (), |_| {
                group.encrypt_application_message(&text, vec![]).unwrap();
            }));
            let g = std::cell::RefCell::new(&mut group);
            print(&format!("unprotect {op}"), n, time(200,
                || g.borrow_mut().encrypt_application_message(&text, vec![]).unwrap(),
                |m| process(&mut reader, m)));
        }
        commits("flat", n, repeats, &mut group, &mut reader);

        // Some members commit, spread over the tree, so that parents are there.
        if n > 2 {
            let step = (n / SPREAD).max(1);
            let spread: Vec<usize> = (0..others.len() - 1).step_by(step).collect();
            // They joined long ago: rebuild the group with all of them in step.
            let mut fresh = creator.create_group(ExtensionList::new(), ExtensionList::new(), None).unwrap();
            let mut builder = fresh.commit_builder();
            for o in &others {
                builder = builder
                    .add_member(o.generate_key_package_message(ExtensionList::new(), ExtensionList::new(), None).unwrap())
                    .unwrap();
            }
            let out = builder.build().unwrap();
            fresh.apply_pending_commit().unwrap();
            let welcome = &out.welcome_messages[0];
            let mut reader = last.join_group(None, welcome, None).unwrap().0;
            let mut groups: Vec<_> = spread.iter().map(|&i| others[i].join_group(None, welcome, None).unwrap().0).collect();
            for i in 0..groups.len() {
                let m = groups[i].commit(vec![]).unwrap().commit_message;
                groups[i].apply_pending_commit().unwrap();
                for k in 0..groups.len() {
                    if k != i {
                        process(&mut groups[k], m.clone());
                    }
                }
                process(&mut fresh, m.clone());
                process(&mut reader, m);
            }
            commits("settled", n, repeats, &mut fresh, &mut reader);
        }
    }
}

fn commits<C: MlsConfig, D: MlsConfig>(tree: &str, n: usize, repeats: usize, group: &mut Group<C>, reader: &mut Group<D>) {
    print(&format!("commit {tree}"), n, time(repeats, || (), |_| {
        group.commit(vec![]).unwrap();
        group.clear_pending_commit();
    }));
    let g = std::cell::RefCell::new(group);
    print(&format!("process {tree}"), n, time(repeats,
        || {
            let mut g = g.borrow_mut();
            let m = g.commit(vec![]).unwrap().commit_message;
            g.apply_pending_commit().unwrap();
            m
        },
        |m| process(reader, m)));
}

/// A client with at most one group.
struct Member<C: MlsConfig> {
    client: Client<C>,
    group: Option<Group<C>>,
}

/// Answers requests, one JSON object a line: {"op", "who", ...}. An answer has "error" where the library refused.
fn serve<C: MlsConfig>(make: impl Fn(CipherSuite, &str) -> Client<C>) {
    let mut members: HashMap<String, Member<C>> = HashMap::new();
    for line in std::io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let answer = answer(&mut members, &make, &request).unwrap_or_else(|e| json!({"error": e}));
        println!("{answer}");
        std::io::stdout().flush().unwrap();
    }
}

fn answer<C: MlsConfig>(
    members: &mut HashMap<String, Member<C>>,
    make: &impl Fn(CipherSuite, &str) -> Client<C>,
    r: &Value,
) -> Result<Value, String> {
    let text = |e: mls_rs::error::MlsError| format!("{e:?}");
    let bytes = |name: &str| hex::decode(r[name].as_str().unwrap_or("")).unwrap();
    let message = |name: &str| MlsMessage::from_bytes(&bytes(name)).map_err(text);
    let who = r["who"].as_str().unwrap().to_string();
    if r["op"] == "client" {
        let client = make(CipherSuite::from(r["suite"].as_u64().unwrap() as u16), &who);
        members.insert(who, Member { client, group: None });
        return Ok(json!({}));
    }
    let m = members.get_mut(&who).expect("a client of that name");
    match r["op"].as_str().unwrap() {
        "package" => {
            let k = m.client.generate_key_package_message(ExtensionList::new(), ExtensionList::new(), None).map_err(text)?;
            return Ok(json!({"message": hex::encode(k.to_bytes().map_err(text)?)}));
        }
        "join" => {
            m.group = Some(m.client.join_group(None, &message("message")?, None).map_err(text)?.0);
            return Ok(json!({}));
        }
        _ => {}
    }
    let g = m.group.as_mut().expect("a group");
    Ok(match r["op"].as_str().unwrap() {
        "take" => match g.process_incoming_message(message("message")?).map_err(text)? {
            ReceivedMessage::ApplicationMessage(a) => json!({"text": hex::encode(a.data())}),
            _ => json!({}),
        },
        "send" => json!({"message": hex::encode(g.encrypt_application_message(&bytes("text"), vec![]).map_err(text)?.to_bytes().map_err(text)?)}),
        "propose" => {
            let proposal = match r["package"].as_str() {
                Some(_) => g.propose_add(message("package")?, vec![]),
                None => g.propose_remove(r["leaf"].as_u64().unwrap() as u32, vec![]),
            };
            json!({"message": hex::encode(proposal.map_err(text)?.to_bytes().map_err(text)?)})
        }
        "commit" => {
            let mut b = g.commit_builder();
            for k in r["packages"].as_array().unwrap_or(&vec![]) {
                b = b.add_member(MlsMessage::from_bytes(&hex::decode(k.as_str().unwrap()).unwrap()).map_err(text)?).map_err(text)?;
            }
            if let Some(leaf) = r["leaf"].as_u64() {
                b = b.remove_member(leaf as u32).map_err(text)?;
            }
            let out = b.build().map_err(text)?;
            g.apply_pending_commit().map_err(text)?;
            let welcome = match out.welcome_messages.first() {
                Some(w) => w.to_bytes().map_err(text)?,
                None => vec![],
            };
            json!({"message": hex::encode(out.commit_message.to_bytes().map_err(text)?), "welcome": hex::encode(welcome)})
        }
        "state" => json!({"epoch": g.current_epoch(), "authenticator": hex::encode(g.epoch_authenticator().map_err(text)?.as_bytes())}),
        op => panic!("unknown operation {op}"),
    })
}
