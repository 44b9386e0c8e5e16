package slimrpc_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
	slim_rpc "github.com/seed31b3bfd0/slimgo/session/rpc/slimrpc"
	"github.com/seed31b3bfd0/slimgo/session/sessiontest"
)

type word = wrapperspb.StringValue

// words is a server as users of the cgo bindings have written it.
type words struct {
	UnimplementedWordsServer
}

func (words) Say(ctx context.Context, req *word) (*word, error) {
	switch req.GetValue() {
	case "":
		return nil, slim_rpc.NewRpcErrorRpc(slim_rpc.RpcCodeInvalidArgument, "nothing is said", nil)
	case "wrapped":
		return nil, fmt.Errorf("in words: %w", slim_rpc.NewRpcErrorRpc(slim_rpc.RpcCodeAborted, "stopped", nil))
	case "plain":
		return nil, errors.New("plain")
	case "wait":
		<-ctx.Done()
		return nil, ctx.Err()
	case "metadata":
		md, _ := slim_rpc.MetadataFromContext(ctx)
		if id, ok := slim_rpc.SessionIdFromContext(ctx); !ok || id == "" {
			return nil, errors.New("a call without a session")
		}
		return &word{Value: md["k"]}, nil
	}
	return req, nil
}

func (words) Spell(_ context.Context, req *word, stream slim_rpc.ServerStream[*word]) error {
	for _, r := range req.GetValue() {
		if r == '!' {
			return slim_rpc.NewRpcErrorRpc(slim_rpc.RpcCodeOutOfRange, "no letter", nil)
		}
		if err := stream.Send(&word{Value: string(r)}); err != nil {
			return err
		}
	}
	return nil
}

func (words) Join(_ context.Context, stream slim_rpc.ResponseStream[*word]) (*word, error) {
	var all []string
	for {
		req, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		if req == nil {
			return &word{Value: strings.Join(all, " ")}, nil
		}
		all = append(all, req.GetValue())
	}
}

func (words) Shout(_ context.Context, stream slim_rpc.ServerBidiStream[*word, *word]) error {
	for {
		req, err := stream.Recv()
		if req == nil || err != nil {
			return err
		}
		if err := stream.Send(&word{Value: strings.ToUpper(req.GetValue())}); err != nil {
			return err
		}
	}
}

// run serves words under names, and gives the test a caller's app.
func run(t *testing.T, test func(t *testing.T, app *session.App, names []session.Name)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		net := sessiontest.New(t, sessiontest.Options{Quiet: true})
		var names []session.Name
		var servers []*slim_rpc.Server
		done := make(chan error, 3)
		for i := range 3 {
			app := net.App(fmt.Sprint("org/ns/words", i))
			base := app.Name()
			if i == 0 { // which is reached by another name
				base = session.MustName("org/ns/other")
			}
			server := slim_rpc.NewServer(app, base)
			RegisterWordsServer(server, &words{})
			go func() { done <- server.ServeAsync() }()
			servers = append(servers, server)
			names = append(names, base.Any())
		}
		synctest.Wait()
		test(t, net.App("org/ns/caller"), names)
		for _, s := range servers {
			s.ShutdownAsync()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}

// all receives until nothing comes any more, and then nothing again.
func all(t *testing.T, recv func() (*word, error)) (texts []string, err error) {
	t.Helper()
	for {
		res, err := recv()
		if err != nil {
			return texts, err
		}
		if res == nil {
			if res, err := recv(); res != nil || err != nil {
				t.Errorf("after the end: %v, %v", res, err)
			}
			return texts, nil
		}
		texts = append(texts, res.GetValue())
	}
}

// A program that was written for the cgo bindings does here what it does there, and better where its failures get lost there.
func TestProgramOfTheBindings(t *testing.T) {
	run(t, func(t *testing.T, app *session.App, names []session.Name) {
		channel := slim_rpc.NewChannel(app, names[0])
		client := NewWordsClient(channel)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if res, err := client.Say(ctx, &word{Value: "hi"}); err != nil || res.GetValue() != "hi" {
			t.Errorf("Say: %v, %v", res, err)
		}
		if res, err := client.Say(slim_rpc.WithMetadata(ctx, map[string]string{"k": "v"}), &word{Value: "metadata"}); err != nil || res.GetValue() != "v" {
			t.Errorf("metadata: %v, %v", res, err)
		}
		down, err := client.Spell(ctx, &word{Value: "abc"})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := all(t, down.Recv); err != nil || strings.Join(got, "") != "abc" {
			t.Errorf("Spell: %q, %v", got, err)
		}
		up, err := client.Join(ctx)
		if err != nil {
			t.Fatal(err)
		}
		both, err := client.Shout(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"a", "", "b"} {
			if err := errors.Join(up.Send(&word{Value: text}), both.Send(&word{Value: text})); err != nil {
				t.Fatal(err)
			}
		}
		if res, err := up.CloseAndRecv(); err != nil || res.GetValue() != "a  b" {
			t.Errorf("Join: %v, %v", res, err)
		}
		if err := both.CloseSend(); err != nil {
			t.Error(err)
		}
		if got, err := all(t, both.Recv); err != nil || !slices.Equal(got, []string{"A", "", "B"}) {
			t.Errorf("Shout: %q, %v", got, err)
		}
		failures(t, ctx, client)
		if err := channel.CloseAsync(nil); err != nil {
			t.Error(err)
		}
	})
}

func failures(t *testing.T, ctx context.Context, client WordsClient) {
	t.Helper()
	want := func(err error, code slim_rpc.RpcCode, message string) {
		t.Helper()
		var e *slim_rpc.RpcError
		var one *slim_rpc.RpcErrorRpc
		if !errors.As(err, &e) || !errors.As(err, &one) || one.Code != code || !strings.Contains(one.Message, message) ||
			!errors.Is(err, slim_rpc.ErrRpcErrorRpc) || !errors.Is(err, rpc.Code(code)) {
			t.Errorf("%v, want code %d and %q", err, code, message)
		}
	}
	for text, x := range map[string]struct {
		code    slim_rpc.RpcCode
		message string
	}{
		"":        {slim_rpc.RpcCodeInvalidArgument, "nothing is said"},
		"wrapped": {slim_rpc.RpcCodeAborted, "stopped"},
		"plain":   {slim_rpc.RpcCodeInternal, "plain"},
	} {
		_, err := client.Say(ctx, &word{Value: text})
		want(err, x.code, x.message)
	}
	down, err := client.Spell(ctx, &word{Value: "a!"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := all(t, down.Recv)
	want(err, slim_rpc.RpcCodeOutOfRange, "no letter")
	if !slices.Equal(got, []string{"a"}) {
		t.Errorf("before that: %q", got)
	}
	cancelled, cancel := context.WithCancel(ctx)
	time.AfterFunc(time.Second, cancel)
	_, err = client.Say(cancelled, &word{Value: "wait"})
	want(err, slim_rpc.RpcCodeCancelled, "")
}

func TestGroupOfTheBindings(t *testing.T) {
	run(t, func(t *testing.T, app *session.App, names []session.Name) {
		channel, err := slim_rpc.ChannelNewGroup(app, names)
		if err != nil {
			t.Fatal(err)
		}
		client := NewWordsGroupClient(channel)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		heard := func(recv func() (*slim_rpc.MulticastItem[*word], error)) (texts []string) {
			for {
				item, err := recv()
				var one *slim_rpc.RpcErrorMulticastRpc
				switch {
				case errors.As(err, &one):
					texts = append(texts, fmt.Sprint(one.Origin, " ", one.Code))
				case err != nil:
					t.Fatal(err)
				case item == nil:
					slices.Sort(texts)
					return texts
				default:
					texts = append(texts, item.Context.Source.String()+" "+item.Value.GetValue())
				}
			}
		}
		want := func(what string, got []string, ends ...string) {
			t.Helper()
			var want []string
			for _, n := range names {
				for _, end := range ends {
					want = append(want, n.String()+" "+end)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %q, want %q", what, got, want)
			}
		}
		one, err := client.Say(ctx, &word{Value: "hi"})
		if err != nil {
			t.Fatal(err)
		}
		want("Say", heard(one.Recv), "hi")
		if one, err = client.Say(ctx, &word{}); err != nil {
			t.Fatal(err)
		}
		want("a failure", heard(one.Recv), "3")
		if one, err = client.Spell(ctx, &word{Value: "ab"}); err != nil {
			t.Fatal(err)
		}
		want("Spell", heard(one.Recv), "a", "b")
		many, err := client.Shout(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(many.Send(&word{Value: "x"}), many.CloseSend()); err != nil {
			t.Fatal(err)
		}
		want("Shout", heard(many.Recv), "X")
		if many, err = client.Join(ctx); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(many.Send(&word{Value: "x"}), many.Send(&word{Value: "y"}), many.CloseSend()); err != nil {
			t.Fatal(err)
		}
		want("Join", heard(many.Recv), "x y")
		if err := channel.CloseAsync(nil); err != nil {
			t.Error(err)
		}
		if _, err := slim_rpc.ChannelNewGroup(app, nil); !errors.Is(err, rpc.InvalidArgument) && err == nil {
			t.Error("a group without members is no error")
		}
	})
}

// What a default server does not have is Unimplemented, and not Internal.
func TestUnimplementedOfTheBindings(t *testing.T) {
	_, err := UnimplementedWordsServer{}.Say(t.Context(), nil)
	var one *slim_rpc.RpcErrorRpc
	if !errors.As(err, &one) || one.Code != slim_rpc.RpcCodeUnimplemented {
		t.Error(err)
	}
}
