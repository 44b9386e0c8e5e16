// Command agents is a pair of agents: one that spells out what it is told, word by word, and one that has it do so. Either may be the
// Python program beside it, agents.py, which takes the same arguments.
//
//	export SLIM_SECRET='a secret of both, 32 bytes or more'
//	agents &
//	agents -name org/demo/alice -of org/demo/speller To Rome by train
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"

	"github.com/a2aproject/a2a-go/a2a"
	"github.com/a2aproject/a2a-go/a2aclient"
	"github.com/a2aproject/a2a-go/a2asrv"
	"github.com/a2aproject/a2a-go/a2asrv/eventqueue"

	"github.com/seed31b3bfd0/slimgo/integrations/a2a/a2aslim"
	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Getenv, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "agents:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, env func(string) string, out io.Writer) error {
	f := flag.NewFlagSet("agents", flag.ContinueOnError)
	name := f.String("name", "org/demo/speller", "own name")
	of := f.String("of", "", "the agent to tell something; empty: be one")
	if err := f.Parse(args); err != nil {
		return err
	}
	me, err := session.ParseName(*name)
	if err != nil {
		return err
	}
	o := session.Options{Name: me, Secret: []byte(env("SLIM_SECRET")), Logger: slog.Default()}
	if node := env("SLIM_ADDR"); node != "" {
		o.Nodes = []string{node}
	}
	app, err := session.Connect(ctx, o)
	if err != nil {
		return err
	}
	defer func() { _ = app.Close(context.WithoutCancel(ctx)) }()
	if *of == "" {
		return serve(ctx, app)
	}
	return tell(ctx, app, *of, strings.Join(f.Args(), " "), out)
}

// serve serves the agent until it is interrupted.
func serve(ctx context.Context, app *session.App) error {
	card := &a2a.AgentCard{
		Name: "Speller", Description: "Says what it is told, word by word.", Version: "1.0.0",
		URL: app.Name().Any().String(), PreferredTransport: a2aslim.Transport, ProtocolVersion: "1.0",
		Capabilities:      a2a.AgentCapabilities{Streaming: true},
		DefaultInputModes: []string{"text/plain"}, DefaultOutputModes: []string{"text/plain"},
		Skills: []a2a.AgentSkill{{ID: "spell", Name: "Spelling", Description: "Each word by itself", Tags: []string{"text"}}},
	}
	server := rpc.NewServer(app, rpc.ServerOptions{})
	a2aslim.Register(server, a2asrv.NewHandler(speller{}), a2aslim.ServerOptions{Card: card})
	if err := server.Serve(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// speller is the agent.
type speller struct{}

// Execute makes a task of a message, and an artifact of its words, a chunk for each.
func (speller) Execute(ctx context.Context, r *a2asrv.RequestContext, q eventqueue.Queue) error {
	if err := q.Write(ctx, a2a.NewSubmittedTask(r, r.Message)); err != nil {
		return err
	}
	if err := q.Write(ctx, a2a.NewStatusUpdateEvent(r, a2a.TaskStateWorking, nil)); err != nil {
		return err
	}
	var artifact a2a.ArtifactID
	for _, word := range strings.Fields(text(r.Message.Parts)) {
		chunk := a2a.NewArtifactEvent(r, a2a.TextPart{Text: word})
		if artifact != "" {
			chunk = a2a.NewArtifactUpdateEvent(r, artifact, a2a.TextPart{Text: word})
		}
		artifact = chunk.Artifact.ID
		if err := q.Write(ctx, chunk); err != nil {
			return err
		}
	}
	return q.Write(ctx, final(r, a2a.TaskStateCompleted))
}

func (speller) Cancel(ctx context.Context, r *a2asrv.RequestContext, q eventqueue.Queue) error {
	return q.Write(ctx, final(r, a2a.TaskStateCanceled))
}

func final(r *a2asrv.RequestContext, s a2a.TaskState) a2a.Event {
	e := a2a.NewStatusUpdateEvent(r, s, nil)
	e.Final = true
	return e
}

// tell has an agent do something, and prints what becomes of it.
func tell(ctx context.Context, app *session.App, agent, what string, out io.Writer) error {
	endpoint := []a2a.AgentInterface{{URL: agent, Transport: a2aslim.Transport}}
	client, err := a2aclient.NewFromEndpoints(ctx, endpoint, a2aslim.Transports(app, a2aslim.ClientOptions{})...)
	if err != nil {
		return err
	}
	defer func() { _ = client.Destroy() }()
	message := a2a.NewMessage(a2a.MessageRoleUser, a2a.TextPart{Text: what})
	for event, err := range client.SendStreamingMessage(ctx, &a2a.MessageSendParams{Message: message}) {
		if err != nil {
			return err
		}
		switch e := event.(type) {
		case *a2a.Message:
			fmt.Fprintln(out, "message", text(e.Parts))
		case *a2a.TaskStatusUpdateEvent:
			fmt.Fprintln(out, "task", e.Status.State)
		case *a2a.TaskArtifactUpdateEvent:
			fmt.Fprintln(out, "word", text(e.Artifact.Parts))
		}
	}
	return nil
}

// text is that of the parts that are text.
func text(parts a2a.ContentParts) string {
	var all []string
	for _, p := range parts {
		if t, ok := p.(a2a.TextPart); ok {
			all = append(all, t.Text)
		}
	}
	return strings.Join(all, " ")
}
