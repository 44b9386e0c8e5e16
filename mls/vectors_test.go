package mls

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
	"github.com/seed31b3bfd0/slimgo/mls/internal/treemath"
	"github.com/seed31b3bfd0/slimgo/mls/internal/vectors"
)

type hex = vectors.Hex

// vectorFiles are the sixteen kinds of the working group's repository mls-implementations.
var vectorFiles = map[string]func(*testing.T, json.RawMessage){
	"tree-math.json":                      treeMathVector,
	"crypto-basics.json":                  cryptoBasicsVector,
	"deserialization.json":                deserializationVector,
	"secret-tree.json":                    secretTreeVector,
	"message-protection.json":             messageProtectionVector,
	"key-schedule.json":                   keyScheduleVector,
	"psk_secret.json":                     pskSecretVector,
	"transcript-hashes.json":              transcriptVector,
	"welcome.json":                        welcomeVector,
	"tree-operations.json":                treeOperationsVector,
	"tree-validation.json":                treeValidationVector,
	"treekem.json":                        treeKEMVector,
	"messages.json":                       messagesVector,
	"passive-client-welcome.json":         passiveClientVector,
	"passive-client-handling-commit.json": passiveClientVector,
	"passive-client-random.json":          passiveClientVector,
}

// Every file of the folder, by its name: the fourteen that tests bring along, or those of MLS_VECTORS.
func TestVectors(t *testing.T) {
	dir := vectors.Dir(t)
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no vectors in %s: %v", dir, err)
	}
	if os.Getenv("MLS_VECTORS") == "" && len(names) < 14 {
		t.Errorf("%s has %d files, want 14", dir, len(names))
	}
	for _, path := range names {
		name := filepath.Base(path)
		t.Run(name, func(t *testing.T) {
			run := vectorFiles[name]
			if run == nil {
				t.Fatalf("vectors of a kind that this test does not know: rename the file to one of its kinds, or teach the test")
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var cases []json.RawMessage
			if err := json.Unmarshal(b, &cases); err != nil {
				t.Fatal(err)
			}
			if len(cases) == 0 {
				t.Fatal("no cases")
			}
			tried := map[CipherSuite]bool{}
			for i, c := range cases {
				dear := slowSuite(c)
				if slower && i%8 != 0 || !long && dear > 0 && tried[dear] {
					continue
				}
				tried[dear] = true
				t.Run(fmt.Sprint(i), func(t *testing.T) {
					t.Parallel()
					run(t, c)
				})
			}
		})
	}
}

// slowSuite is a case's suite if its curve has no code in assembly, otherwise 0. Trees and messages are the same in all
// suites: one case of each file shows what is the suite's.
func slowSuite(raw json.RawMessage) CipherSuite {
	var c struct {
		Suite CipherSuite `json:"cipher_suite"`
	}
	if json.Unmarshal(raw, &c) != nil || c.Suite <= 3 {
		return 0
	}
	return c.Suite
}

func decode[T any](t *testing.T, raw json.RawMessage) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func suiteOf(t testing.TB, id CipherSuite) *suite.Suite {
	t.Helper()
	s, ok := suite.Lookup(id)
	if !ok {
		t.Fatalf("%v is not supported", id)
	}
	return s
}

func secretOf(b []byte) *suite.Secret {
	s := new(suite.Secret)
	s.Set(b)
	return s
}

func same(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s is %x, want %x", what, got, want)
	}
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func treeMathVector(t *testing.T, raw json.RawMessage) {
	c := decode[struct {
		Leaves  uint32           `json:"n_leaves"`
		Nodes   uint32           `json:"n_nodes"`
		Root    treemath.Node    `json:"root"`
		Left    []*treemath.Node `json:"left"`
		Right   []*treemath.Node `json:"right"`
		Parent  []*treemath.Node `json:"parent"`
		Sibling []*treemath.Node `json:"sibling"`
	}](t, raw)
	if treemath.Width(c.Leaves) != c.Nodes || treemath.Root(c.Leaves) != c.Root {
		t.Fatal("width or root is wrong")
	}
	for i := range c.Nodes {
		n := treemath.Node(i)
		if c.Left[i] != nil && (n.Left() != *c.Left[i] || n.Right() != *c.Right[i]) ||
			c.Parent[i] != nil && (n.Parent() != *c.Parent[i] || n.Sibling() != *c.Sibling[i]) {
			t.Errorf("node %d", n)
		}
	}
}

func cryptoBasicsVector(t *testing.T, raw json.RawMessage) {
	c := decode[struct {
		Suite   CipherSuite `json:"cipher_suite"`
		RefHash struct {
			Label      string
			Value, Out hex
		} `json:"ref_hash"`
		Expand struct {
			Secret, Context, Out hex
			Label                string
			Length               int
		} `json:"expand_with_label"`
		Derive struct {
			Secret, Out hex
			Label       string
		} `json:"derive_secret"`
		Tree struct {
			Secret, Out hex
			Label       string
			Generation  uint32
			Length      int
		} `json:"derive_tree_secret"`
		Sign struct {
			Priv, Pub, Content, Signature hex
			Label                         string
		} `json:"sign_with_label"`
		Encrypt struct {
			Priv, Pub, Context, Plaintext, Ciphertext hex
			KEM                                       hex `json:"kem_output"`
			Label                                     string
		} `json:"encrypt_with_label"`
	}](t, raw)
	s := suiteOf(t, c.Suite)
	same(t, "ref_hash", s.RefHash(nil, c.RefHash.Label, c.RefHash.Value), c.RefHash.Out)
	out := make([]byte, c.Expand.Length)
	s.ExpandWithLabel(out, c.Expand.Secret, c.Expand.Label, c.Expand.Context)
	same(t, "expand_with_label", out, c.Expand.Out)
	var derived suite.Secret
	s.DeriveSecret(&derived, secretOf(c.Derive.Secret), c.Derive.Label)
	same(t, "derive_secret", derived.Bytes(), c.Derive.Out)
	out = make([]byte, c.Tree.Length)
	s.DeriveTreeSecret(out, secretOf(c.Tree.Secret), c.Tree.Label, c.Tree.Generation)
	same(t, "derive_tree_secret", out, c.Tree.Out)
	v := must[suite.Verifier](t)(s.Verifier(c.Sign.Pub))
	key := must[*SigningKey](t)(s.ParseSigningKey(c.Sign.Priv))
	own := must[[]byte](t)(s.SignWithLabel(orSystem(nil), key, c.Sign.Label, c.Sign.Content))
	if !s.VerifyWithLabel(v, c.Sign.Label, c.Sign.Content, c.Sign.Signature) || !s.VerifyWithLabel(v, c.Sign.Label, c.Sign.Content, own) {
		t.Error("sign_with_label does not verify")
	}
	priv := must[*suite.PrivateKey](t)(s.ParsePrivateKey(c.Encrypt.Priv))
	text := must[[]byte](t)(s.DecryptWithLabel(priv, c.Encrypt.Label, c.Encrypt.Context, c.Encrypt.KEM, c.Encrypt.Ciphertext))
	same(t, "encrypt_with_label", text, c.Encrypt.Plaintext)
}

func deserializationVector(t *testing.T, raw json.RawMessage) {
	c := decode[struct {
		Header hex `json:"vlbytes_header"`
		Length int `json:"length"`
	}](t, raw)
	r := codec.NewReader(c.Header)
	if got := r.Varint(); got != c.Length || r.Finish() != nil {
		t.Errorf("%x is %d (%v), want %d", c.Header, got, r.Err(), c.Length)
	}
	same(t, "header", codec.AppendVarint(nil, c.Length), c.Header)
}

func secretTreeVector(t *testing.T, raw json.RawMessage) {
	c := decode[struct {
		Suite      CipherSuite `json:"cipher_suite"`
		Encryption hex         `json:"encryption_secret"`
		SenderData struct {
			Secret     hex `json:"sender_data_secret"`
			Ciphertext hex `json:"ciphertext"`
			Key, Nonce hex
		} `json:"sender_data"`
		Leaves [][]struct {
			Generation       uint32 `json:"generation"`
			ApplicationKey   hex    `json:"application_key"`
			ApplicationNonce hex    `json:"application_nonce"`
			HandshakeKey     hex    `json:"handshake_key"`
			HandshakeNonce   hex    `json:"handshake_nonce"`
		} `json:"leaves"`
	}](t, raw)
	s := suiteOf(t, c.Suite)
	var k messageKey
	senderDataKey(s, secretOf(c.SenderData.Secret), c.SenderData.Ciphertext, &k)
	same(t, "sender data key", k.key[:s.KeySize()], c.SenderData.Key)
	same(t, "sender data nonce", k.nonce[:], c.SenderData.Nonce)
	tree := newSecretTree(s, uint32(len(c.Leaves)), secretOf(c.Encryption))
	for l, generations := range c.Leaves {
		for _, g := range generations {
			for kind, want := range map[ContentType][2]hex{
				ContentApplication: {g.ApplicationKey, g.ApplicationNonce}, ContentCommit: {g.HandshakeKey, g.HandshakeNonce},
			} {
				r := must[*ratchet](t)(tree.ratchet(LeafIndex(l), kind))
				ahead := must[*ratchet](t)(r.key(s, g.Generation, 1<<20, &k))
				lent := &claim{ratchet: r, generation: g.Generation}
				lent.hold(s, r, ahead)
				same(t, fmt.Sprintf("%v key %d of leaf %d", kind, g.Generation, l), k.key[:s.KeySize()], want[0])
				same(t, fmt.Sprintf("%v nonce %d of leaf %d", kind, g.Generation, l), k.nonce[:], want[1])
				lent.spend(s, 1<<20)
			}
		}
	}
	if len(tree.closed) != 0 {
		t.Errorf("%d secrets of subtrees are left when all leaves are open", len(tree.closed))
	}
}

func messageProtectionVector(t *testing.T, raw json.RawMessage) {
	c := decode[struct {
		Suite           CipherSuite `json:"cipher_suite"`
		GroupID         hex         `json:"group_id"`
		Epoch           uint64      `json:"epoch"`
		TreeHash        hex         `json:"tree_hash"`
		Confirmed       hex         `json:"confirmed_transcript_hash"`
		SignaturePriv   hex         `json:"signature_priv"`
		SignaturePub    hex         `json:"signature_pub"`
		Encryption      hex         `json:"encryption_secret"`
		SenderData      hex         `json:"sender_data_secret"`
		MembershipKey   hex         `json:"membership_key"`
		Proposal        hex         `json:"proposal"`
		ProposalPriv    hex         `json:"proposal_priv"`
		ProposalPub     hex         `json:"proposal_pub"`
		Commit          hex         `json:"commit"`
		CommitPriv      hex         `json:"commit_priv"`
		CommitPub       hex         `json:"commit_pub"`
		Application     hex         `json:"application"`
		ApplicationPriv hex         `json:"application_priv"`
	}](t, raw)
	s := suiteOf(t, c.Suite)
	context := groupContext{suite: c.Suite, groupID: c.GroupID, epoch: c.Epoch, treeHash: c.TreeHash, confirmedHash: c.Confirmed}
	tree := newTree(s, &LeafNode{SignatureKey: c.SignaturePub})
	tree.add(&LeafNode{SignatureKey: c.SignaturePub})
	keys := func() *epochKeys {
		k := &epochKeys{epoch: c.Epoch, context: context.append(nil), tree: tree}
		k.senderData.Set(c.SenderData)
		k.secrets = newSecretTree(s, 2, secretOf(c.Encryption))
		return k
	}
	signer := must[*SigningKey](t)(s.ParseSigningKey(c.SignaturePriv))
	v := must[suite.Verifier](t)(s.Verifier(c.SignaturePub))
	var receiver *epochKeys

	checkPublic := func(what string, msg []byte, want []byte) *publicMessage {
		p := must[*Message](t)(ParseMessage(msg)).public
		if err := p.checkMembership(s, c.MembershipKey, context.append(nil)); err != nil {
			t.Error(err)
		}
		if err := p.checkSignature(s, v, context.append(nil)); err != nil {
			t.Error(err)
		}
		same(t, what, p.content.body.append(nil, p.content.kind), want)
		return p
	}
	checkPrivate := func(what string, msg []byte, want []byte) *authenticated {
		t.Helper()
		p := must[*Message](t)(ParseMessage(msg)).private
		var o privateContent
		var lent claim
		if err := receiver.unprotect(s, p, 0, 1024, nil, &o, &lent); err != nil {
			t.Fatal(err)
		}
		lent.spend(s, 1024)
		a := o.authenticated(p)
		if err := a.checkSignature(s, o.verifier, receiver.context); err != nil {
			t.Error(err)
		}
		got := a.content.body.append(nil, a.content.kind)
		if a.content.kind == ContentApplication {
			got = a.content.body.application
		}
		same(t, what, got, want)
		return a
	}
	checkPublic("proposal_pub", c.ProposalPub, c.Proposal)
	commitMessage := checkPublic("commit_pub", c.CommitPub, c.Commit)
	receiver = keys()
	proposal := checkPrivate("proposal_priv", c.ProposalPriv, c.Proposal)
	receiver = keys() // the vectors use generation 0 for each of them
	checkPrivate("commit_priv", c.CommitPriv, c.Commit)
	checkPrivate("application_priv", c.ApplicationPriv, c.Application)

	// Ours, and back.
	sender := keys()
	receiver = keys()
	for _, content := range []framedContent{proposal.content, commitMessage.content,
		{kind: ContentApplication, body: body{application: c.Application}}} {
		content.groupID, content.epoch, content.sender, content.aad = c.GroupID, c.Epoch, Sender{Type: SenderMember, Leaf: 1}, []byte("aad")
		for _, wire := range []WireFormat{WirePublicMessage, WirePrivateMessage} {
			a := must[*authenticated](t)(newAuthenticated(s, orSystem(nil), signer, wire, content, context.append(nil)))
			a.auth.confirmationTag = []byte("tag")
			plain := content.body.append(nil, content.kind)
			if wire == WirePrivateMessage {
				p := &privateMessage{groupID: c.GroupID, epoch: c.Epoch, kind: content.kind, aad: content.aad}
				msg := must[[]byte](t)(sender.protect(s, orSystem(nil), nil, p, 1, plain, &a.auth, PadStep, 1<<20))
				if content.kind == ContentApplication {
					plain = content.body.application
				}
				checkPrivate("our private message", msg, plain)
			} else if content.kind != ContentApplication {
				checkPublic("our public message", protectPublic(s, a, c.MembershipKey, context.append(nil)).append(appendMessageHead(nil, wire)), plain)
			}
		}
	}
}

func keyScheduleVector(t *testing.T, raw json.RawMessage) {
	c := decode[struct {
		Suite   CipherSuite `json:"cipher_suite"`
		GroupID hex         `json:"group_id"`
		Init    hex         `json:"initial_init_secret"`
		Epochs  []struct {
			Commit         hex `json:"commit_secret"`
			PSK            hex `json:"psk_secret"`
			TreeHash       hex `json:"tree_hash"`
			Confirmed      hex `json:"confirmed_transcript_hash"`
			Context        hex `json:"group_context"`
			Joiner         hex `json:"joiner_secret"`
			Welcome        hex `json:"welcome_secret"`
			Init           hex `json:"init_secret"`
			SenderData     hex `json:"sender_data_secret"`
			Encryption     hex `json:"encryption_secret"`
			Exporter       hex `json:"exporter_secret"`
			External       hex `json:"external_secret"`
			ExternalPub    hex `json:"external_pub"`
			Confirmation   hex `json:"confirmation_key"`
			Membership     hex `json:"membership_key"`
			Resumption     hex `json:"resumption_psk"`
			Authenticator  hex `json:"epoch_authenticator"`
			ExporterOutput struct {
				Label   string
				Context hex
				Length  int
				Secret  hex
			} `json:"exporter"`
		} `json:"epochs"`
	}](t, raw)
	s := suiteOf(t, c.Suite)
	init := secretOf(c.Init)
	for i, e := range c.Epochs {
		context := groupContext{suite: c.Suite, groupID: c.GroupID, epoch: uint64(i), treeHash: e.TreeHash, confirmedHash: e.Confirmed}
		same(t, "group_context", context.append(nil), e.Context)
		var joiner, welcome, senderData, encryption suite.Secret
		var j joined
		deriveJoiner(s, &joiner, init, secretOf(e.Commit), e.Context)
		same(t, "joiner_secret", joiner.Bytes(), e.Joiner)
		j.derive(s, &joiner, secretOf(e.PSK), e.Context)
		deriveWelcome(s, &welcome, &joiner, secretOf(e.PSK))
		same(t, "welcome_secret", j.welcome.Bytes(), e.Welcome)
		same(t, "welcome_secret without the context", welcome.Bytes(), e.Welcome)
		var secrets epochSecrets
		secrets.derive(s, &j.epoch, &senderData, &encryption)
		for what, pair := range map[string][2][]byte{
			"init_secret": {secrets.init.Bytes(), e.Init}, "sender_data_secret": {senderData.Bytes(), e.SenderData},
			"encryption_secret": {encryption.Bytes(), e.Encryption}, "exporter_secret": {secrets.exporter.Bytes(), e.Exporter},
			"external_secret": {secrets.external.Bytes(), e.External}, "confirmation_key": {secrets.confirmation.Bytes(), e.Confirmation},
			"membership_key": {secrets.membership.Bytes(), e.Membership}, "resumption_psk": {secrets.resumption.Bytes(), e.Resumption},
			"epoch_authenticator": {secrets.authentication.Bytes(), e.Authenticator},
		} {
			same(t, what, pair[0], pair[1])
		}
		key := must[*suite.PrivateKey](t)(s.DeriveKeyPair(&secrets.external))
		same(t, "external_pub", key.Public(), e.ExternalPub)
		same(t, "exporter", secrets.export(s, e.ExporterOutput.Label, e.ExporterOutput.Context, e.ExporterOutput.Length), e.ExporterOutput.Secret)
		init.Take(&secrets.init)
	}
}

func pskSecretVector(t *testing.T, raw json.RawMessage) {
	c := decode[struct {
		Suite CipherSuite `json:"cipher_suite"`
		PSKs  []struct {
			ID    hex `json:"psk_id"`
			PSK   hex `json:"psk"`
			Nonce hex `json:"psk_nonce"`
		} `json:"psks"`
		Secret hex `json:"psk_secret"`
	}](t, raw)
	var ids []PSKID
	var keys [][]byte
	for _, p := range c.PSKs {
		ids = append(ids, PSKID{Type: PSKExternal, ID: p.ID, Nonce: p.Nonce})
		keys = append(keys, p.PSK)
	}
	var out suite.Secret
	pskSecret(suiteOf(t, c.Suite), &out, ids, keys)
	same(t, "psk_secret", out.Bytes(), c.Secret)
}

func transcriptVector(t *testing.T, raw json.RawMessage) {
	c := decode[struct {
		Suite           CipherSuite `json:"cipher_suite"`
		ConfirmationKey hex         `json:"confirmation_key"`
		Content         hex         `json:"authenticated_content"`
		InterimBefore   hex         `json:"interim_transcript_hash_before"`
		Confirmed       hex         `json:"confirmed_transcript_hash_after"`
		Interim         hex         `json:"interim_transcript_hash_after"`
	}](t, raw)
	s := suiteOf(t, c.Suite)
	r := codec.NewReader(c.Content)
	a := authenticated{wire: WireFormat(r.Uint16())}
	start := r.Offset()
	a.content = readFramedContent(r)
	a.raw = r.Since(start)
	a.auth = readAuthData(r, a.content.kind)
	if err := r.Finish(); err != nil {
		t.Fatal(err)
	}
	same(t, "authenticated_content", a.append(nil), c.Content)
	confirmed := confirmedHash(s, c.InterimBefore, &a)
	same(t, "confirmed_transcript_hash", confirmed, c.Confirmed)
	same(t, "confirmation_tag", s.MAC(nil, c.ConfirmationKey, confirmed), a.auth.confirmationTag)
	same(t, "interim_transcript_hash", interimHash(s, confirmed, a.auth.confirmationTag), c.Interim)
}

func welcomeVector(t *testing.T, raw json.RawMessage) {
	c := decode[struct {
		Suite      CipherSuite `json:"cipher_suite"`
		InitPriv   hex         `json:"init_priv"`
		KeyPackage hex         `json:"key_package"`
		SignerPub  hex         `json:"signer_pub"`
		Welcome    hex         `json:"welcome"`
	}](t, raw)
	s := suiteOf(t, c.Suite)
	k := must[*KeyPackage](t)(ParseKeyPackage(c.KeyPackage))
	w := must[*Message](t)(ParseMessage(c.Welcome)).welcome
	ref := must[[]byte](t)(k.Ref())
	j := &joining{suite: s, private: &PrivateKeyPackage{Package: k, init: must[*suite.PrivateKey](t)(s.ParsePrivateKey(c.InitPriv))}, cfg: &Config{Credentials: AcceptAll}}
	at := -1
	for i := range w.secrets {
		if bytes.Equal(w.secrets[i].newMember, ref) {
			at = i
		}
	}
	if at < 0 {
		t.Fatal("welcome is not for the key package")
	}
	if err := j.openSecrets(w, &w.secrets[at]); err != nil {
		t.Fatal(err)
	}
	// The vector has no tree: the signer's leaf is given.
	var secret suite.Secret
	deriveWelcome(s, &secret, &j.joiner, &j.psk)
	var key messageKey
	welcomeKey(s, &secret, &key)
	aead, err := s.AEAD(key.key[:s.KeySize()])
	if err != nil {
		t.Fatal(err)
	}
	text := must[[]byte](t)(aead.Open(nil, key.nonce[:], w.groupInfo, nil))
	r := codec.NewReader(text)
	info := readGroupInfo(r)
	if err := r.Finish(); err != nil {
		t.Fatal(err)
	}
	if err := info.checkSignature(s, &LeafNode{SignatureKey: c.SignerPub}); err != nil {
		t.Error(err)
	}
	var secrets joined
	secrets.derive(s, &j.joiner, &j.psk, info.context.append(nil))
	e := &epoch{suite: s, context: info.context, tree: newTree(s, k.Leaf)}
	e.start(&secrets.epoch)
	same(t, "confirmation_tag", e.tag, info.confirmationTag)
}

func vectorTree(t *testing.T, s *suite.Suite, b []byte) *tree {
	t.Helper()
	return must[*tree](t)(readTree(s, b, DefaultLimits()))
}

func treeOperationsVector(t *testing.T, raw json.RawMessage) {
	c := decode[struct {
		Suite      CipherSuite `json:"cipher_suite"`
		Proposal   hex         `json:"proposal"`
		Sender     LeafIndex   `json:"proposal_sender"`
		Before     hex         `json:"tree_before"`
		HashBefore hex         `json:"tree_hash_before"`
		After      hex         `json:"tree_after"`
		HashAfter  hex         `json:"tree_hash_after"`
	}](t, raw)
	s := suiteOf(t, c.Suite)
	tr := vectorTree(t, s, c.Before)
	same(t, "tree_hash_before", tr.hash(), c.HashBefore)
	r := codec.NewReader(c.Proposal)
	p := readProposal(r)
	if err := r.Finish(); err != nil {
		t.Fatal(err)
	}
	next := tr.clone()
	switch p := p.(type) {
	case *Add:
		next.add(p.KeyPackage.Leaf)
	case *Update:
		next.update(c.Sender, p.Leaf)
	case *Remove:
		next.remove(p.Leaf)
		next.shrink()
	default:
		t.Fatalf("proposal %v", p.Type())
	}
	same(t, "tree_after", next.append(nil), c.After)
	same(t, "tree_hash_after", next.hash(), c.HashAfter)
	same(t, "the tree before, which must not change", tr.append(nil), c.Before)
}

func treeValidationVector(t *testing.T, raw json.RawMessage) {
	c := decode[struct {
		Suite       CipherSuite `json:"cipher_suite"`
		Tree        hex         `json:"tree"`
		GroupID     hex         `json:"group_id"`
		Resolutions [][]uint32  `json:"resolutions"`
		Hashes      []hex       `json:"tree_hashes"`
	}](t, raw)
	tr := vectorTree(t, suiteOf(t, c.Suite), c.Tree)
	for i := range tr.nodes {
		n := treemath.Node(i)
		same(t, fmt.Sprintf("hash of node %d", i), tr.hashOf(n), c.Hashes[i])
		var res []uint32
		tr.resolution(n, func(m treemath.Node) bool { res = append(res, uint32(m)); return true })
		if fmt.Sprint(res) != fmt.Sprint(c.Resolutions[i]) {
			t.Errorf("resolution of node %d is %v, want %v", i, res, c.Resolutions[i])
		}
	}
	if len(c.Hashes) != len(tr.nodes) {
		t.Errorf("%d nodes, want %d", len(tr.nodes), len(c.Hashes))
	}
	same(t, "the tree as it is written", tr.append(nil), c.Tree)
	if err := tr.checkReceived(&groupContext{groupID: c.GroupID, treeHash: tr.hash()}, rules{most: -1}); err != nil {
		t.Error(err)
	}
}

func treeKEMVector(t *testing.T, raw json.RawMessage) {
	c := decode[struct {
		Suite     CipherSuite `json:"cipher_suite"`
		GroupID   hex         `json:"group_id"`
		Epoch     uint64      `json:"epoch"`
		Confirmed hex         `json:"confirmed_transcript_hash"`
		Tree      hex         `json:"ratchet_tree"`
		Private   []struct {
			Index         LeafIndex `json:"index"`
			EncryptionKey hex       `json:"encryption_priv"`
			SignatureKey  hex       `json:"signature_priv"`
			Secrets       []struct {
				Node   treemath.Node `json:"node"`
				Secret hex           `json:"path_secret"`
			} `json:"path_secrets"`
		} `json:"leaves_private"`
		Paths []struct {
			Sender   LeafIndex `json:"sender"`
			Path     hex       `json:"update_path"`
			Secrets  []*hex    `json:"path_secrets"`
			Commit   hex       `json:"commit_secret"`
			TreeHash hex       `json:"tree_hash_after"`
		} `json:"update_paths"`
	}](t, raw)
	s := suiteOf(t, c.Suite)
	before := vectorTree(t, s, c.Tree)
	keys := map[LeafIndex]keyring{}
	signers := map[LeafIndex]*SigningKey{}
	for _, p := range c.Private {
		ring := keyring{p.Index.Node(): must[*suite.PrivateKey](t)(s.ParsePrivateKey(p.EncryptionKey))}
		for _, ps := range p.Secrets {
			secrets := pathSecrets{suite: s}
			secrets.now.Set(ps.Secret)
			ring[ps.Node] = must[*suite.PrivateKey](t)(secrets.keyPair())
		}
		for n, k := range ring {
			same(t, fmt.Sprintf("public key of node %d", n), k.Public(), before.nodes[n].encryptionKey())
		}
		keys[p.Index] = ring
		signers[p.Index] = must[*SigningKey](t)(s.ParseSigningKey(p.SignatureKey))
	}
	context := func(tr *tree) []byte {
		g := groupContext{suite: c.Suite, groupID: c.GroupID, epoch: c.Epoch, treeHash: tr.hash(), confirmedHash: c.Confirmed}
		return g.append(nil)
	}
	for n, p := range c.Paths {
		r := codec.NewReader(p.Path)
		u := readUpdatePath(r)
		if err := r.Finish(); err != nil {
			t.Fatal(err)
		}
		after := before.clone()
		steps := must[[]step](t)(after.mergeUpdatePath(p.Sender, u, nil))
		same(t, "tree_hash_after", after.hash(), p.TreeHash)
		for i, ring := range keys {
			if i == p.Sender {
				continue
			}
			var commit suite.Secret
			got := must[keyring](t)(after.decryptPath(i, ring, u, steps, context(after), nil, &commit))
			same(t, "commit_secret", commit.Bytes(), p.Commit)
			first := pathSecrets{suite: s}
			first.now.Set(*p.Secrets[i])
			common := treemath.CommonAncestor(i.Node(), p.Sender.Node())
			same(t, "key of the lowest common node", got[common].Public(), must[*suite.PrivateKey](t)(first.keyPair()).Public())
		}
		if n%4 != 0 && n != len(c.Paths)-1 {
			continue
		}
		// A path of ours from the same sender; some of them are enough, as these are no vectors.
		own := before.clone()
		leaf := *before.leaf(p.Sender)
		fresh := LeafNode{SignatureKey: leaf.SignatureKey, Credential: leaf.Credential, Capabilities: leaf.Capabilities, Extensions: leaf.Extensions, Source: SourceCommit}
		f := must[*freshPath](t)(own.refreshPath(orSystem(nil), p.Sender, &fresh))
		if err := fresh.sign(s, orSystem(nil), signers[p.Sender], c.GroupID, p.Sender); err != nil {
			t.Fatal(err)
		}
		own.setLeaf(p.Sender, &fresh)
		nodes := must[[]updatePathNode](t)(own.encryptPath(orSystem(nil), f, context(own), nil))
		sent := &updatePath{leaf: &fresh, nodes: nodes}
		received := before.clone()
		steps = must[[]step](t)(received.mergeUpdatePath(p.Sender, sent, nil))
		same(t, "hash of the tree behind our path", received.hash(), own.hash())
		for i, ring := range keys {
			if i == p.Sender {
				continue
			}
			var commit suite.Secret
			must[keyring](t)(received.decryptPath(i, ring, sent, steps, context(own), nil, &commit))
			same(t, "our commit_secret", commit.Bytes(), f.commit.Bytes())
		}
	}
}

// messagesVector: whatever is read is written again to the byte.
func messagesVector(t *testing.T, raw json.RawMessage) {
	c := decode[map[string]hex](t, raw)
	proposals := map[string]ProposalType{"add_proposal": ProposalAdd, "update_proposal": ProposalUpdate, "remove_proposal": ProposalRemove,
		"pre_shared_key_proposal": ProposalPSK, "re_init_proposal": ProposalReInit, "external_init_proposal": ProposalExternalInit,
		"group_context_extensions_proposal": ProposalGroupContextExtensions}
	for name, b := range c {
		if p, ok := proposals[name]; ok {
			b = append([]byte{0, byte(p)}, b...)
			r := codec.NewReader(b)
			same(t, name, appendProposal(nil, readProposal(r)), b)
			if err := r.Finish(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		switch name {
		case "ratchet_tree":
			tr := vectorTree(t, suiteOf(t, 1), b)
			same(t, name, tr.append(nil), b)
		case "group_secrets":
			r := codec.NewReader(b)
			same(t, name, readGroupSecrets(r).append(nil), b)
			if err := r.Finish(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		case "commit":
			r := codec.NewReader(b)
			same(t, name, readCommit(r).append(nil), b)
			if err := r.Finish(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		default:
			if !strings.HasPrefix(name, "mls_") && !strings.HasPrefix(name, "public_message_") && name != "private_message" {
				t.Errorf("%s is not known", name)
			}
			m, err := ParseMessage(b)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			same(t, name, m.append(nil), b)
		}
	}
}

func passiveClientVector(t *testing.T, raw json.RawMessage) {
	c := decode[struct {
		Suite CipherSuite `json:"cipher_suite"`
		PSKs  []struct {
			ID  hex `json:"psk_id"`
			PSK hex `json:"psk"`
		} `json:"external_psks"`
		KeyPackage     hex  `json:"key_package"`
		SignaturePriv  hex  `json:"signature_priv"`
		EncryptionPriv hex  `json:"encryption_priv"`
		InitPriv       hex  `json:"init_priv"`
		Welcome        hex  `json:"welcome"`
		Tree           *hex `json:"ratchet_tree"`
		Authenticator  hex  `json:"initial_epoch_authenticator"`
		Epochs         []struct {
			Proposals     []hex `json:"proposals"`
			Commit        hex   `json:"commit"`
			Authenticator hex   `json:"epoch_authenticator"`
		} `json:"epochs"`
	}](t, raw)
	store := &MemoryStore{}
	private := &PrivateKeyPackage{Package: must[*KeyPackage](t)(ParseKeyPackage(c.KeyPackage))}
	if err := private.parseKeys(c.InitPriv, c.EncryptionPriv, c.SignaturePriv); err != nil {
		t.Fatal(err)
	}
	if err := store.Put(must[[]byte](t)(private.Package.Ref()), private); err != nil {
		t.Fatal(err)
	}
	cfg := &Config{CipherSuite: c.Suite, Key: private.signer, Now: time.Now, KeyPackages: store, MaxLifetime: -1, Credentials: AcceptAll,
		PSK: func(id *PSKID) ([]byte, error) {
			for _, p := range c.PSKs {
				if bytes.Equal(p.ID, id.ID) {
					return p.PSK, nil
				}
			}
			return nil, fmt.Errorf("no key %x", id.ID)
		}}
	var o JoinOptions
	if c.Tree != nil {
		o.Tree = *c.Tree
	}
	g := must[*Group](t)(Join(cfg, c.Welcome, o))
	same(t, "initial_epoch_authenticator", authenticator(t, g), c.Authenticator)
	for _, e := range c.Epochs {
		for _, p := range e.Proposals {
			if r := must[*Received](t)(g.Process(p)); r.Content != ContentProposal {
				t.Fatalf("%v instead of a proposal", r.Content)
			}
		}
		r := must[*Received](t)(g.Process(e.Commit))
		if err := r.Change.Apply(); err != nil {
			t.Fatal(err)
		}
		same(t, "epoch_authenticator", authenticator(t, g), e.Authenticator)
	}
}
