package a2aslim

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/a2aproject/a2a-go/a2a"
	"github.com/a2aproject/a2a-go/a2aclient"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
)

// ClientOptions of Transports. The zero value is fit for use.
type ClientOptions struct {
	// Version is what is spoken; zero: what the agent's card says, and V1 without a card.
	Version Version
	// Calls are the options of the calls. A Timeout of 0 means none, as tasks take the time that they take: a context bounds a call, and one
	// whose agent has gone fails, with rpc.Unavailable.
	Calls rpc.CallOptions
}

// Transports are the options by which a factory of a2aclient makes clients of agents that are called by SLIMRPC, from app, which stays open
// as long as any of them:
//
//	client, err := a2aclient.NewFromCard(ctx, card, a2aslim.Transports(app, a2aslim.ClientOptions{})...)
//
// A client has a session with its agent from the first call on, and closes it by Destroy.
func Transports(app *session.App, o ClientOptions) []a2aclient.FactoryOption {
	if o.Calls.Timeout == 0 {
		o.Calls.Timeout = -1
	}
	create := func(_ context.Context, url string, card *a2a.AgentCard) (a2aclient.Transport, error) {
		name, err := ParseURL(url)
		if err != nil {
			return nil, err
		}
		v, err := versionFor(o.Version, card)
		if err != nil {
			return nil, err
		}
		client := rpc.NewClient(app, name, o.Calls)
		return &transport{protocolOf(v), client, client.Close}, nil
	}
	options := make([]a2aclient.FactoryOption, len(transportNames))
	for i, name := range transportNames {
		options[i] = a2aclient.WithTransport(name, a2aclient.TransportFactoryFn(create))
	}
	return options
}

// NewTransport is the transport of one agent, which c calls: an *rpc.Client, which stays open. V1 and V03 are versions; others are V1.
func NewTransport(c rpc.Caller, v Version) a2aclient.Transport {
	return &transport{protocolOf(v), c, func(context.Context) error { return nil }}
}

// protocolOf returns the methods of a version.
func protocolOf(v Version) *protocol {
	if v == V03 {
		return protocol03
	}
	return protocol1
}

// versionFor is what is spoken with an agent that has such a card, or none.
func versionFor(v Version, card *a2a.AgentCard) (Version, error) {
	switch {
	case v == V1 || v == V03:
		return v, nil
	case v != 0:
		return 0, fmt.Errorf("ClientOptions.Version is %d: want V1, V03 or 0", v)
	case card == nil || card.ProtocolVersion == "":
		return V1, nil
	}
	switch major, _, _ := strings.Cut(card.ProtocolVersion, "."); major {
	case "0":
		return V03, nil
	case "1":
		return V1, nil
	}
	return 0, fmt.Errorf("the card of agent %q says protocol version %q: this package speaks %s and %s",
		card.Name, card.ProtocolVersion, version1, version03)
}

// transport implements a2aclient.Transport.
type transport struct {
	methods *protocol
	caller  rpc.Caller
	close   func(context.Context) error
}

var _ a2aclient.Transport = (*transport)(nil)

func (t *transport) SendMessage(ctx context.Context, p *a2a.MessageSendParams) (a2a.SendMessageResult, error) {
	return t.methods.send.call(ctx, t.caller, p)
}

func (t *transport) SendStreamingMessage(ctx context.Context, p *a2a.MessageSendParams) iter.Seq2[a2a.Event, error] {
	return t.methods.sendStream.call(ctx, t.caller, p)
}

func (t *transport) ResubscribeToTask(ctx context.Context, p *a2a.TaskIDParams) iter.Seq2[a2a.Event, error] {
	return t.methods.subscribe.call(ctx, t.caller, p)
}

func (t *transport) GetTask(ctx context.Context, p *a2a.TaskQueryParams) (*a2a.Task, error) {
	return t.methods.get.call(ctx, t.caller, p)
}

func (t *transport) CancelTask(ctx context.Context, p *a2a.TaskIDParams) (*a2a.Task, error) {
	return t.methods.cancel.call(ctx, t.caller, p)
}

func (t *transport) GetTaskPushConfig(ctx context.Context, p *a2a.GetTaskPushConfigParams) (*a2a.TaskPushConfig, error) {
	return t.methods.getPush.call(ctx, t.caller, p)
}

func (t *transport) ListTaskPushConfig(ctx context.Context, p *a2a.ListTaskPushConfigParams) ([]*a2a.TaskPushConfig, error) {
	return t.methods.listPush.call(ctx, t.caller, p)
}

func (t *transport) SetTaskPushConfig(ctx context.Context, p *a2a.TaskPushConfig) (*a2a.TaskPushConfig, error) {
	return t.methods.setPush.call(ctx, t.caller, p)
}

func (t *transport) DeleteTaskPushConfig(ctx context.Context, p *a2a.DeleteTaskPushConfigParams) error {
	_, err := t.methods.deletePush.call(ctx, t.caller, p)
	return err
}

func (t *transport) GetAgentCard(ctx context.Context) (*a2a.AgentCard, error) {
	return t.methods.card.call(ctx, t.caller, new(nothing))
}

// destroyTime is how long an agent may take to answer that a session ends.
const destroyTime = 2 * time.Second

func (t *transport) Destroy() error {
	ctx, cancel := context.WithTimeout(context.Background(), destroyTime)
	defer cancel()
	return t.close(ctx)
}
