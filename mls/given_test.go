package mls

import (
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
)

// What a call is given and no message could hold is refused before it is copied or encoded.
func TestMoreThanAMessageHolds(t *testing.T) {
	const most, tooLong = 64 << 10, 8 << 20
	long := make([]byte, tooLong)
	label := string(long)
	small := func(c *Config) { c.Limits.Message, c.GREASE = most, true }
	as := func(id Credential) *Config {
		cfg := newPerson(t, 1, "someone", small).cfg
		return cfg.WithIdentity(Identity{Credential: id})
	}
	someone, named := as(BasicCredential([]byte("someone"))), BasicCredential(long)
	extension := Extension{0xf00d, long}
	g := newCrowd(t, 1, 2, small).members[0].group
	info := must[[]byte](t)(g.GroupInfo(true, true))
	pkg := newPerson(t, 1, "new", func(c *Config) { c.Capabilities.Extensions = []ExtensionType{0xf00d} })
	large := must[*KeyPackage](t)(pkg.cfg.NewKeyPackage(extension))
	byHand := *large
	byHand.raw = nil
	psk := &PreSharedKey{PSKID{Type: PSKExternal, ID: long, Nonce: make([]byte, 32)}}

	many := func(n int) []Proposal { // none of them is too long
		list := make([]Proposal, n)
		for i := range list {
			list[i] = &PreSharedKey{PSKID{Type: PSKExternal, ID: long[:most/4], Nonce: make([]byte, 32)}}
		}
		return list
	}
	commit := func(o CommitOptions) func() error {
		return func() error { _, err := g.Commit(o); return err }
	}
	commitOf := func(list ...Proposal) func() error { return commit(CommitOptions{Proposals: list}) }
	propose := func(p Proposal, aad []byte) func() error {
		return func() error { _, err := g.Propose(p, aad); return err }
	}
	create := func(cfg *Config, id []byte, e ...Extension) func() error {
		return func() error { _, err := Create(cfg, id, e...); return err }
	}
	keyPackage := func(cfg *Config, e ...Extension) func() error {
		return func() error { _, err := cfg.NewKeyPackage(e...); return err }
	}
	join := func(cfg *Config, o ExternalOptions) func() error {
		return func() error { _, _, err := JoinExternal(cfg, info, o); return err }
	}
	capable := *someone
	capable.Capabilities.Extensions = make([]ExtensionType, tooLong/2)
	for _, c := range []struct {
		what string
		call func() error
	}{
		{"Config.Credential", create(as(named), nil)},
		{"Config.Credential", create(as(X509Credential(long)), nil)},
		{"Config.Credential", create(as(Credential{Type: 0xf00d, Data: long}), nil)},
		{"Config.Credential", keyPackage(as(named))},
		{"Config.Credential", join(as(named), ExternalOptions{})},
		{"Config.Credential", func() error { _, _, err := g.Branch(as(named), nil, nil); return err }},
		{"Config.Capabilities", create(&capable, nil)},
		{"Config.Capabilities", keyPackage(&capable)},
		{"group id", create(someone, long)},
		{"group id", func() error { _, _, err := g.Branch(someone, long, nil); return err }},
		{"group id", func() error { _, err := ProposeFromOutside(someone, long, 0, 0, &Remove{1}); return err }},
		{"group id", func() error { _, err := ProposeSelf(someone, long, 0, pkg.keyPackage()); return err }},
		{"extensions of the new group", create(someone, nil, extension)},
		{"extensions of a key package", keyPackage(someone, extension)},
		{"label of an exported secret", func() error { _, err := g.Export(label, nil, 32); return err }},
		{"AAD of a proposal", propose(&Remove{1}, long)},
		{"AAD of a proposal", func() error { _, err := g.ProposeUpdate(Identity{}, long); return err }},
		{"Identity", func() error { _, err := g.ProposeUpdate(Identity{Credential: named}, nil); return err }},
		{"proposal", propose(psk, nil)},
		{"proposal", propose(&Add{large}, nil)},
		{"proposal", propose(&Add{&byHand}, nil)},
		{"proposal", propose(&ReInit{long, MLS10, 1, nil}, nil)},
		{"proposal", propose(&ReInit{nil, MLS10, 1, Extensions{extension}}, nil)},
		{"proposal", propose(&GroupContextExtensions{Extensions{extension}}, nil)},
		{"proposal", propose(&UnknownProposal{0xf00d, long}, nil)},
		{"proposal", func() error { _, err := ProposeFromOutside(someone, nil, 0, 0, psk); return err }},
		{"proposal", func() error { _, err := ProposeSelf(someone, nil, 0, large); return err }},
		{"proposal of a commit", commitOf(psk)},
		{"proposal of a commit", commitOf(&Add{large})},
		{"proposal of a commit", commitOf(&Update{&LeafNode{EncryptionKey: long}})},
		{"proposal of a commit", commitOf(&ExternalInit{long})},
		{"proposal of a commit", commitOf(many(5)...)},
		{"proposal of a commit", func() error { _, _, err := g.Branch(someone, nil, []*KeyPackage{large}); return err }},
		{"CommitOptions.AAD", commit(CommitOptions{AAD: long})},
		{"CommitOptions.Note", commit(CommitOptions{Note: long})},
		{"CommitOptions.Identity", commit(CommitOptions{Identity: Identity{Credential: named}})},
		{"CommitOptions.GroupInfo", commit(CommitOptions{GroupInfo: Extensions{extension}})},
		{"ExternalOptions.AAD", join(someone, ExternalOptions{AAD: long})},
		{"ExternalOptions.PSKs", join(someone, ExternalOptions{PSKs: [][]byte{long}})},
		{"ExternalOptions.PSKs", join(someone, ExternalOptions{PSKs: make([][]byte, most/32+1)})},
		{"ExternalOptions.Resumption", join(someone, ExternalOptions{Resumption: []PSKID{{GroupID: long}}})},
	} {
		t.Run(c.what, func(t *testing.T) {
			unchanged(t, g, func() {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				err := c.call()
				runtime.ReadMemStats(&after)
				wantRefusal(t, err, Limit, ": "+c.what+" of ")
				if n := after.TotalAlloc - before.TotalAlloc; n > tooLong/2 {
					t.Errorf("%d bytes were taken", n)
				}
			})
		})
	}
	// What a message can hold is in order, all together too.
	must[*Change](t)(g.Commit(CommitOptions{AAD: long[:most/2], Note: long[:most]}))
	must[[]byte](t)(g.Export(strings.Repeat("l", most), nil, 32))
	must[*Group](t)(Create(someone, long[:most]))
	_, err := someone.NewKeyPackage()
	if err != nil {
		t.Error(err)
	}
	_, err = as(BasicCredential(long[:most])).NewKeyPackage() // with what else is in a key package it is too long
	wantRefusal(t, err, Limit, ": key package: message of 65")
}

// Lists that others could not read are not made.
func TestListsThatNobodyReads(t *testing.T) {
	p := newPerson(t, 1, "p")
	for _, change := range []func(*Capabilities){
		func(c *Capabilities) { c.Versions = make([]ProtocolVersion, maxNumbers+1) },
		func(c *Capabilities) { c.CipherSuites = make([]CipherSuite, maxNumbers+1) },
		func(c *Capabilities) { c.Extensions = make([]ExtensionType, maxNumbers+1) },
		func(c *Capabilities) { c.Proposals = make([]ProposalType, maxNumbers+1) },
		func(c *Capabilities) { c.Credentials = make([]CredentialType, maxNumbers+1) },
	} {
		for _, grease := range []bool{false, true} {
			cfg := *p.cfg
			cfg.GREASE = grease
			change(&cfg.Capabilities)
			_, err := cfg.NewKeyPackage()
			wantRefusal(t, err, Limit, "7.2: entries in a list of capabilities")
			_, err = Create(&cfg, nil)
			wantRefusal(t, err, Limit, "7.2: entries in a list of capabilities")
		}
	}
	chain := Identity{Credential: X509Credential(make([][]byte, maxCertificates+1)...)}
	_, err := p.cfg.WithIdentity(chain).NewKeyPackage()
	wantRefusal(t, err, Limit, "5.3: X.509 credential holds 65 certificates")
	_, err = newCrowd(t, 1, 2).members[0].group.Commit(CommitOptions{Identity: chain})
	wantRefusal(t, err, Limit, "5.3: X.509 credential holds 65 certificates")

	// Those that are made without an error are refused where they are used.
	for _, e := range []Extension{
		RequiredCapabilities{Extensions: make([]ExtensionType, maxNumbers+1)}.Extension(),
		RequiredCapabilities{Proposals: make([]ProposalType, maxNumbers+1)}.Extension(),
		RequiredCapabilities{Credentials: make([]CredentialType, 4*maxNumbers)}.Extension(),
		ExternalSenders(make([]ExternalSender, 4*maxSenders)...),
	} {
		if len(e.Data) > 2*maxNumbers+16 {
			t.Errorf("%v of %d bytes", e.Type, len(e.Data))
		}
		_, err = Create(p.cfg, nil, e)
		wantRefusal(t, err, Limit, ": extension does not decode")
	}
	certificate := make([]byte, maxMessage/8)
	senders := make([]ExternalSender, 9)
	for i := range senders {
		senders[i].Credential = X509Credential(certificate)
	}
	_, err = Create(p.cfg, nil, ExternalSenders(senders...))
	wantRefusal(t, err, Malformed, ": external_senders extension does not decode")
	_, err = NewStateKey(make([]byte, StateKeySize), strings.Repeat("m", maxStateMember+1))
	wantRefusal(t, err, Misuse, ": whose name has 65537 bytes")
}

// Limits end where a message, with what it is signed and sealed with, could no longer be encoded.
func TestLimitsBeyondEncoding(t *testing.T) {
	c := newCrowd(t, 1, 2, func(c *Config) { c.Limits.Message = math.MaxInt })
	if n := c.members[0].group.limits.Message; n != maxMessage {
		t.Errorf("messages have up to %d bytes", n)
	}
	for _, far := range []int{maxMessage + 1, math.MaxInt} {
		p := newCrowd(t, 1, 2).members[0]
		p.cfg.Padding = func(int) int { return far }
		unchanged(t, p.group, func() {
			_, err := p.group.Protect(nil, nil, nil)
			wantRefusal(t, err, Limit, ": message of ")
		})
	}
}

// What all welcomes of a commit hold is read once, not once for each.
func TestWelcomesOfALongGroupInfo(t *testing.T) {
	const members, long = 64, 1 << 20
	g := newCrowd(t, 1, 1).members[0].group
	o := CommitOptions{GroupInfo: Extensions{{0xf00d, make([]byte, long)}}}
	for i := range members {
		o.Proposals = append(o.Proposals, &Add{newPerson(t, 1, fmt.Sprint("n", i)).keyPackage()})
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	must[*Change](t)(g.Commit(o))
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > members/2*long {
		t.Errorf("a commit that adds %d members takes %d bytes, with a group info of %d", members, n, long)
	}
}
