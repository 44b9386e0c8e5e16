package mls

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"

	oracle "github.com/thomas-vilte/mls-go"
	"github.com/thomas-vilte/mls-go/ciphersuite"

	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
)

// theirs is a member of mls-go.
type theirs struct {
	id     string
	client *oracle.Client
	group  []byte
	suite  CipherSuite
}

func newTheirs(t testing.TB, cs CipherSuite, name string) *theirs {
	t.Helper()
	return &theirs{id: name, suite: cs, client: must[*oracle.Client](t)(oracle.NewClient([]byte(name),
		ciphersuite.CipherSuite(cs),
		oracle.WithCacheStrategy(oracle.CacheAlways), // it forgets skipped keys when it stores a group
		oracle.WithLogger(slog.New(slog.DiscardHandler))))}
}

func (o *theirs) name() string { return o.id }

func (o *theirs) keyPackage() []byte {
	b, err := o.client.FreshKeyPackageBytes(context.Background())
	if err != nil {
		panic(err)
	}
	return append(appendMessageHead(nil, WireKeyPackage), b...)
}

func (o *theirs) join(welcome []byte) (err error) {
	o.group, err = o.client.JoinGroup(context.Background(), welcome)
	return err
}

func (o *theirs) traits() traits {
	return traits{plain: true, noUpdates: true, noKeys: true, oldKeys: true, oneNonce: true, otherRequired: true,
		whole: true, lateKeys: true, overlooks: o.suite == 2}
}

func (o *theirs) propose(w wish) ([]byte, error) {
	ctx := context.Background()
	switch w.kind {
	case ProposalAdd:
		return o.client.ProposeAddMember(ctx, o.group, w.keyPackage[4:])
	case ProposalRemove:
		return o.client.ProposeRemoveMember(ctx, o.group, []byte(w.member))
	case ProposalPSK:
		return o.client.ProposeResumptionPSK(ctx, o.group, w.epoch)
	case ProposalGroupContextExtensions:
		list := codec.NewReader(w.extensions.append(nil)).Opaque() // without its length
		return o.client.ProposeGroupContextExtensions(ctx, o.group, list)
	}
	return nil, fmt.Errorf("mls-go proposes no %v", w.kind)
}

// commit holds by value what its maker has proposed, whether others were told of it or not. Not SelfUpdate, which would
// put an update of the committer into its commit: section 12.2 forbids it.
func (o *theirs) commit(values ...wish) (commit, welcome []byte, err error) {
	for _, w := range values {
		if _, err := o.propose(w); err != nil {
			return nil, nil, err
		}
	}
	return o.client.CommitPendingProposals(context.Background(), o.group)
}

// leave is nothing: mls-go tells nobody that it was removed.
func (o *theirs) leave([]byte) error { return nil }

func (o *theirs) learn(string, []byte) error { return nil }

func (o *theirs) take(msg []byte) error {
	m, err := ParseMessage(msg)
	if err != nil {
		return err
	}
	if m.public != nil && m.public.content.kind == ContentCommit && m.public.content.sender.Type == SenderMember {
		return o.client.ProcessCommit(context.Background(), o.group, msg)
	}
	return o.client.ProcessPublicMessage(context.Background(), o.group, msg)
}

func (o *theirs) send(text, aad []byte) ([]byte, error) {
	return o.client.SendMessage(context.Background(), o.group, text, oracle.WithAAD(aad))
}

func (o *theirs) read(msg []byte) ([]byte, []byte, error) {
	r, err := o.client.ReceiveMessage(context.Background(), o.group, msg)
	if err != nil {
		return nil, nil, err
	}
	return r.Plaintext, r.AuthenticatedData, nil
}

func (o *theirs) info() ([]byte, error) {
	b, err := o.client.GroupInfo(context.Background(), o.group)
	return append(appendMessageHead(nil, WireGroupInfo), b...), err
}

func (o *theirs) joinExternal(info []byte) (commit []byte, err error) {
	o.group, commit, err = o.client.ExternalJoin(context.Background(), info[4:])
	return commit, err
}

func (o *theirs) state() (epoch uint64, authenticator, exported []byte, err error) {
	ctx := context.Background()
	if epoch, err = o.client.Epoch(ctx, o.group); err != nil {
		return 0, nil, nil, err
	}
	if authenticator, err = o.client.EpochAuthenticator(ctx, o.group); err != nil {
		return 0, nil, nil, err
	}
	exported, err = o.client.Export(ctx, o.group, "label", []byte("context"), 32)
	return epoch, authenticator, exported, err
}

// withMLSGo is a history with members of mls-go. They do not list theExtension, which their library knows no way of.
func withMLSGo(t *testing.T, seed int) *history {
	h := &history{t: t, rng: rand.New(rand.NewPCG(uint64(seed), 0)), suite: CipherSuite(1 + seed%3)}
	h.most = 2 + h.rng.IntN(8)
	if seed%10 == 0 {
		h.most = 50
	}
	outsider := must[*SigningKey](t)(GenerateSigningKey(h.suite, nil)).Public()
	h.harmless = ExternalSenders(ExternalSender{outsider, BasicCredential([]byte("outsider"))})
	h.client = func(c client) member {
		_, same := c.keys.(*ours)
		if same || h.extended && c.modern || h.likely(1, 2) {
			return h.newOurs(c)
		}
		return newTheirs(t, h.suite, c.name)
	}
	creator := h.client(client{name: "creator"})
	switch o := creator.(type) {
	case *ours:
		o.group = must[*Group](t)(Create(o.cfg, nil))
	case *theirs:
		o.keyPackage()
		o.group = must[[]byte](t)(o.client.CreateGroup(t.Context()))
	}
	h.begin(creator)
	return h
}
