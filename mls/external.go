package mls

import (
	"bytes"
	"slices"

	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
)

// ExternalOptions are how to join without having been added.
type ExternalOptions struct {
	Tree []byte // where the group info does not hold it
	// Resync takes out an old appearance of this client, at this leaf.
	Resync *LeafIndex
	// PSKs are external pre-shared keys to mix in.
	PSKs [][]byte
	// Resumption are epochs whose resumption keys are to be mixed in, such as one of this group before a resync, which
	// proves that the joiner was there: GroupID and Epoch count. Config.PSK finds them.
	Resumption []PSKID
	// InUse says whether this client is in a group of that name already; nil: no. It is not asked for a resync.
	InUse func(id []byte) bool
	AAD   []byte
}

// checkGiven refuses what no message could hold.
func (o *ExternalOptions) checkGiven(limits Limits) error {
	l := limits.given().add("ExternalOptions.AAD", len(o.AAD))
	const nonce = 32 // at least
	for _, id := range o.PSKs {
		l.add("ExternalOptions.PSKs", len(id)+nonce)
	}
	for i := range o.Resumption {
		l.add("ExternalOptions.Resumption", len(o.Resumption[i].GroupID)+nonce)
	}
	return l.err
}

// JoinExternal makes a commit that brings this client into the group of a group info (RFC 9420, section 12.4.3.2). The
// group is of use when the delivery service has accepted the commit; otherwise it is wiped.
func JoinExternal(cfg *Config, msg []byte, o ExternalOptions) (*Group, []byte, error) {
	s, err := cfg.suite()
	if err != nil {
		return nil, nil, err
	}
	limits := cfg.Limits.filled()
	if len(msg) > limits.Message || len(o.Tree) > limits.Message {
		return nil, nil, refuse(Limit, "", "group info or tree of more than %d bytes", limits.Message)
	}
	if err := o.checkGiven(limits); err != nil {
		return nil, nil, err
	}
	m, err := ParseMessage(bytes.Clone(msg))
	if err != nil {
		return nil, nil, err
	}
	info := m.groupInfo
	if info == nil {
		return nil, nil, refuse(Malformed, "12.4.3.2", "message is %v, want a group info", m.WireFormat)
	}
	if info.context.suite != s.ID() {
		return nil, nil, refuse(Unsupported, "12.4.3.2", "group of %v, this client has %v", info.context.suite, s.ID())
	}
	if o.Resync == nil && o.InUse != nil && o.InUse(info.context.groupID) {
		return nil, nil, refuse(Invalid, "12.4.3.1", "this client is in a group %x already", clip(info.context.groupID))
	}
	if err := checkContextExtensions(info.context.extensions); err != nil {
		return nil, nil, err
	}
	t, err := findTree(s, info, o.Tree, limits)
	if err != nil {
		return nil, nil, err
	}
	if err := info.checkSignature(s, t.leaf(info.signer)); err != nil {
		return nil, nil, err
	}
	if err := t.checkReceived(&info.context, cfg.rules(false)); err != nil {
		return nil, nil, err
	}
	if err := cfg.judgeMembers(&info.context, t, nil); err != nil {
		return nil, nil, err
	}
	if err := cfg.judgeSenders(StageJoin, rosterOf(&info.context, t), info.context.extensions, nil); err != nil {
		return nil, nil, err
	}
	return externalCommit(cfg, s, info, t, o)
}

// externalCommit makes the commit of a joiner and the epoch after it.
func externalCommit(cfg *Config, s *suite.Suite, info *groupInfo, before *tree, o ExternalOptions) (*Group, []byte, error) {
	pub, err := externalPub(info.extensions)
	if err != nil {
		return nil, nil, err
	}
	kem, secret, err := s.SendExport(cfg.random(), pub, externalInitLabel, s.HashSize())
	if err != nil {
		return nil, nil, refuseFor(Invalid, "8.3", err, "external_pub of a group info")
	}
	var init suite.Secret
	defer init.Wipe()
	init.Set(secret)
	clear(secret)

	committer := Sender{Type: SenderNewMemberCommit}
	l := &proposalList{suite: s, mode: external, committer: committer}
	l.all = append(l.all, Committed{Proposal: &ExternalInit{kem}, Sender: committer})
	if o.Resync != nil {
		l.all = append(l.all, Committed{Proposal: &Remove{*o.Resync}, Sender: committer})
	}
	var ids []PSKID
	for _, id := range o.PSKs {
		ids = append(ids, PSKID{Type: PSKExternal, ID: id})
	}
	for _, r := range o.Resumption {
		ids = append(ids, PSKID{Type: PSKResumption, Usage: UsageApplication, GroupID: r.GroupID, Epoch: r.Epoch})
	}
	for _, id := range ids {
		p, err := (&Group{suite: s, cfg: cfg}).withNonce(id)
		if err != nil {
			return nil, nil, err
		}
		l.all = append(l.all, Committed{Proposal: p, Sender: committer})
	}
	limits := cfg.Limits.filled()
	if err := l.checkLimits(before, limits); err != nil {
		return nil, nil, err
	}
	if err := l.check(&info.context, before, cfg); err != nil {
		return nil, nil, err
	}
	if err := l.apply(&info.context, before, limits); err != nil {
		return nil, nil, err
	}
	leaf, key, err := cfg.newLeaf(s)
	if err != nil {
		return nil, nil, err
	}
	key.Wipe() // its path brings another
	leaf.Source, leaf.Lifetime = SourceCommit, Lifetime{}
	if old := l.replaced(before); old != nil {
		if err := cfg.checkSameClient(leaf, old, true); err != nil {
			return nil, nil, err
		}
	}
	if err := l.checkClients(cfg, leaf); err != nil {
		return nil, nil, err
	}
	to := &epoch{tree: l.tree, own: l.tree.vacant(), keys: keyring{}, signer: cfg.Key, context: groupContext{suite: s.ID(), groupID: info.context.groupID,
		epoch: info.context.epoch + 1, confirmedHash: info.context.confirmedHash, extensions: l.extensions}}
	msg, err := joinBy(cfg, s, info, l, leaf, to, &init, o.AAD)
	if err != nil {
		to.drop()
		return nil, nil, err
	}
	return newGroup(cfg, to), msg, nil
}

// joinBy makes the commit of a joiner whose proposals are in l, and completes the epoch after it.
func joinBy(cfg *Config, s *suite.Suite, info *groupInfo, l *proposalList, leaf *LeafNode, to *epoch, init *suite.Secret, aad []byte) ([]byte, error) {
	made := &commit{}
	for _, c := range l.all {
		made.proposals = append(made.proposals, proposalOrRef{proposal: c.Proposal})
	}
	f, err := makePath(s, cfg.random(), leaf, to, l, made)
	if err != nil {
		return nil, err
	}
	defer f.wipe()
	if err := l.tree.checkLeavesTogether([]LeafIndex{to.own}, l.extensions); err != nil {
		return nil, err
	}
	var psk suite.Secret
	defer psk.Wipe()
	if err := mixPSKs(s, &psk, l.psks, cfg.psk); err != nil {
		return nil, err
	}
	a, err := newAuthenticated(s, cfg.random(), cfg.Key, WirePublicMessage, framedContent{groupID: info.context.groupID, epoch: info.context.epoch,
		sender: l.committer, aad: slices.Clone(aad), kind: ContentCommit, body: body{commit: made}}, info.context.append(nil))
	if err != nil {
		return nil, err
	}
	n := advance(s, interimHash(s, info.context.confirmedHash, info.confirmationTag), init, to, a, &f.commit, &psk)
	defer n.wipe()
	a.auth.confirmationTag = to.tag
	msg := protectPublic(s, a, nil, nil).append(appendMessageHead(nil, WirePublicMessage))
	return msg, checkMade(len(msg), cfg.Limits.filled().Message)
}
