//! Members of openmls, driven by lines of JSON: {"op": "commit", "who": "alice", "proposals": [{"remove": "bob"}]}. Every
//! line is answered by one: {"ok": {...}} or {"error": "..."}. Bytes are in hexadecimal.

use openmls::group::{GroupId, Propose};
use openmls::messages::proposals::ProposalOrRefType;
use openmls::prelude::tls_codec::*;
use openmls::prelude::*;
use openmls::schedule::{ExternalPsk, PreSharedKeyId, Psk};
use openmls::treesync::LeafNodeParameters;
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;
use serde_json::{json, Value};
use std::collections::HashMap;
use std::io::BufRead;

type Answer<T> = Result<T, String>;

fn told<E: std::fmt::Debug>(e: E) -> String {
    format!("{e:?}")
}

fn bytes(v: &Value) -> Answer<Vec<u8>> {
    hex::decode(v.as_str().unwrap_or("")).map_err(told)
}

fn message(m: MlsMessageOut) -> Answer<Value> {
    Ok(json!({"message": hex::encode(m.to_bytes().map_err(told)?)}))
}

fn parsed(v: &Value) -> Answer<MlsMessageIn> {
    MlsMessageIn::tls_deserialize_exact(bytes(v)?).map_err(told)
}

struct Client {
    provider: OpenMlsRustCrypto,
    signer: SignatureKeyPair,
    credential: CredentialWithKey,
    suite: Ciphersuite,
    group: Option<MlsGroup>,
}

impl Client {
    fn new(q: &Value) -> Answer<Client> {
        let suite = Ciphersuite::try_from(q["suite"].as_u64().unwrap_or(1) as u16).map_err(told)?;
        let signer = SignatureKeyPair::new(suite.signature_algorithm()).map_err(told)?;
        let name = q["name"].as_str().unwrap_or("").as_bytes().to_vec();
        let credential = CredentialWithKey {
            credential: BasicCredential::new(name).into(),
            signature_key: signer.to_public_vec().into(),
        };
        Ok(Client { provider: OpenMlsRustCrypto::default(), signer, credential, suite, group: None })
    }

    fn config() -> MlsGroupJoinConfig {
        MlsGroupJoinConfig::builder().use_ratchet_tree_extension(true).build()
    }

    fn group(&self) -> Answer<&MlsGroup> {
        self.group.as_ref().ok_or("no group".into())
    }

    fn leaf(&self, name: &str) -> Answer<LeafNodeIndex> {
        let found = self.group()?.members().find(|m| m.credential.serialized_content() == name.as_bytes());
        Ok(found.ok_or(format!("no {name} in the group"))?.index)
    }

    fn key(&self, w: &Value) -> Answer<PreSharedKeyId> {
        let name = w["psk"].as_str().ok_or("no name of a key: the library names no resumption keys")?;
        let psk = Psk::External(ExternalPsk::new(name.as_bytes().to_vec()));
        PreSharedKeyId::new(self.suite, self.provider.rand(), psk).map_err(told)
    }

    fn package(&self, v: &Value) -> Answer<KeyPackage> {
        let MlsMessageBodyIn::KeyPackage(k) = parsed(v)?.extract() else { return Err("no key package".into()) };
        k.validate(self.provider.crypto(), ProtocolVersion::Mls10).map_err(told)
    }

    fn key_package(&mut self) -> Answer<Value> {
        let k = KeyPackage::builder().build(self.suite, &self.provider, &self.signer, self.credential.clone());
        message(k.map_err(told)?.key_package().clone().into())
    }

    fn create(&mut self, q: &Value) -> Answer<Value> {
        let group = MlsGroup::builder()
            .ciphersuite(self.suite)
            .use_ratchet_tree_extension(true)
            .with_group_id(GroupId::from_slice(&bytes(&q["message"])?))
            .build(&self.provider, &self.signer, self.credential.clone());
        self.group = Some(group.map_err(told)?);
        Ok(json!({}))
    }

    fn join(&mut self, q: &Value) -> Answer<Value> {
        let MlsMessageBodyIn::Welcome(w) = parsed(&q["message"])?.extract() else { return Err("no welcome".into()) };
        let staged = StagedWelcome::new_from_welcome(&self.provider, &Client::config(), w, None).map_err(told)?;
        self.group = Some(staged.into_group(&self.provider).map_err(told)?);
        Ok(json!({}))
    }

    fn join_external(&mut self, q: &Value) -> Answer<Value> {
        let MlsMessageBodyIn::GroupInfo(info) = parsed(&q["message"])?.extract() else { return Err("no group info".into()) };
        let (group, bundle) = MlsGroup::external_commit_builder()
            .with_config(Client::config())
            .build_group(&self.provider, info, self.credential.clone()).map_err(told)?
            .load_psks(self.provider.storage()).map_err(told)?
            .build(self.provider.rand(), self.provider.crypto(), &self.signer, |_| true).map_err(told)?
            .finalize(&self.provider).map_err(told)?;
        self.group = Some(group);
        message(bundle.into_commit())
    }

    fn propose(&mut self, q: &Value) -> Answer<Value> {
        let w = &q["proposals"][0];
        let proposal = if w["keyPackage"].is_string() {
            Propose::Add(self.package(&w["keyPackage"])?)
        } else if let Some(name) = w["remove"].as_str() {
            Propose::Remove(self.leaf(name)?.u32())
        } else if w["update"] == true {
            Propose::Update(LeafNodeParameters::default())
        } else if w["extensions"].is_array() { // those that ask for what everybody has
            let required = RequiredCapabilitiesExtension::new(&[], &[], &[CredentialType::Basic]);
            Propose::GroupContextExtensions(Extensions::single(Extension::RequiredCapabilities(required)).map_err(told)?)
        } else {
            Propose::PreSharedKey(self.key(w)?)
        };
        let group = self.group.as_mut().ok_or("no group")?;
        let (m, _) = group.propose(&self.provider, &self.signer, proposal, ProposalOrRefType::Reference).map_err(told)?;
        message(m)
    }

    /// Commits what waits, and proposals beside it by value.
    fn commit(&mut self, q: &Value) -> Answer<Value> {
        let (mut adds, mut removals, mut keys) = (vec![], vec![], vec![]);
        for w in q["proposals"].as_array().unwrap_or(&vec![]) {
            if w["keyPackage"].is_string() {
                adds.push(self.package(&w["keyPackage"])?);
            } else if let Some(name) = w["remove"].as_str() {
                removals.push(self.leaf(name)?);
            } else if w["extensions"].is_array() {
                return Err("extensions by value are not committed here".into());
            } else {
                keys.push(Proposal::PreSharedKey(Box::new(PreSharedKeyProposal::new(self.key(w)?))));
            }
        }
        let group = self.group.as_mut().ok_or("no group")?;
        let bundle = group.commit_builder()
            .propose_adds(adds).propose_removals(removals).add_proposals(keys).force_self_update(true)
            .load_psks(self.provider.storage()).map_err(told)?
            .build(self.provider.rand(), self.provider.crypto(), &self.signer, |_| true).map_err(told)?
            .stage_commit(&self.provider).map_err(told)?;
        let (commit, welcome, _) = bundle.into_messages();
        group.merge_pending_commit(&self.provider).map_err(told)?;
        let mut answer = message(commit)?;
        if let Some(w) = welcome {
            answer["welcome"] = json!(hex::encode(w.to_bytes().map_err(told)?));
        }
        Ok(answer)
    }

    fn receive(&mut self, q: &Value) -> Answer<Value> {
        let m = parsed(&q["message"])?.try_into_protocol_message().map_err(told)?;
        let group = self.group.as_mut().ok_or("no group")?;
        let processed = group.process_message(&self.provider, m).map_err(told)?;
        let aad = hex::encode(processed.aad());
        match processed.into_content() {
            ProcessedMessageContent::ApplicationMessage(text) => Ok(json!({"text": hex::encode(text.into_bytes()), "aad": aad})),
            ProcessedMessageContent::ProposalMessage(p) => {
                group.store_pending_proposal(self.provider.storage(), *p).map_err(told)?;
                Ok(json!({}))
            }
            ProcessedMessageContent::StagedCommitMessage(c) => {
                let removed = c.self_removed();
                group.merge_staged_commit(&self.provider, *c).map_err(told)?;
                Ok(json!({"removed": removed}))
            }
            _ => Err("another kind of message".into()),
        }
    }

    fn send(&mut self, q: &Value) -> Answer<Value> {
        let group = self.group.as_mut().ok_or("no group")?;
        group.set_aad(bytes(&q["aad"])?);
        message(group.create_message(&self.provider, &self.signer, &bytes(&q["text"])?).map_err(told)?)
    }

    fn state(&self) -> Answer<Value> {
        let group = self.group()?;
        let exported = group.export_secret(self.provider.crypto(), "label", b"context", 32).map_err(told)?;
        Ok(json!({"epoch": group.epoch().as_u64(), "authenticator": hex::encode(group.epoch_authenticator().as_slice()),
            "exported": hex::encode(exported)}))
    }

    fn answer(&mut self, q: &Value) -> Answer<Value> {
        match q["op"].as_str().unwrap_or("") {
            "keyPackage" => self.key_package(),
            "create" => self.create(q),
            "join" => self.join(q),
            "joinExternal" => self.join_external(q),
            "info" => message(self.group()?.export_group_info(self.provider.crypto(), &self.signer, true).map_err(told)?),
            "learn" => {
                let id = self.key(&json!({"psk": q["name"]}))?;
                id.store(&self.provider, &bytes(&q["message"])?).map_err(told)?;
                Ok(json!({}))
            }
            "propose" => self.propose(q),
            "commit" => self.commit(q),
            "take" | "read" => self.receive(q),
            "send" => self.send(q),
            "state" => self.state(),
            op => Err(format!("no operation {op}")),
        }
    }
}

fn main() {
    let mut clients: HashMap<String, Client> = HashMap::new();
    for line in std::io::stdin().lock().lines() {
        let q: Value = serde_json::from_str(&line.expect("input")).expect("a line of JSON");
        let who = q["who"].as_str().unwrap_or("").to_string();
        let answer = if q["op"] == "client" {
            Client::new(&q).map(|c| {
                clients.insert(who, c);
                json!({})
            })
        } else {
            clients.get_mut(&who).ok_or(format!("no client {who}")).and_then(|c| c.answer(&q))
        };
        println!("{}", answer.map_or_else(|e| json!({"error": e}), |a| json!({"ok": a})));
    }
}
