// Command poll asks a question of many apps at once, and is one that answers:
//
//	export SLIM_SECRET='a secret of all, 32 bytes or more'
//	poll -name org/demo/bob -vote pizza &
//	poll -name org/demo/carol -vote soup &
//	poll -name org/demo/alice -of org/demo/bob,org/demo/carol,org/demo/dave 'what is for lunch?'
//
// The last one prints who has said what, who has not, and what most want. Dave is not there, and holds up nobody.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
)

// vote is the method. Questions and answers are text, without a .proto file.
var vote = rpc.Method{Service: "demo.Poll", Name: "Vote"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Getenv, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "poll:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, env func(string) string, out io.Writer) error {
	f := flag.NewFlagSet("poll", flag.ContinueOnError)
	name := f.String("name", "", "own name, such as org/demo/alice")
	answer := f.String("vote", "", "the answer to each question; empty: ask one")
	of := f.String("of", "", "whom to ask, with commas between the names")
	wait := f.Duration("wait", 5*time.Second, "how long to wait for answers; half of it for those who are not there")
	if err := f.Parse(args); err != nil {
		return err
	}
	me, err := session.ParseName(*name)
	if err != nil {
		return fmt.Errorf("-name: %w", err)
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
	if *answer != "" {
		return serve(ctx, app, *answer, out)
	}
	var members []session.Name
	for text := range strings.SplitSeq(*of, ",") {
		n, err := session.ParseName(strings.TrimSpace(text))
		if err != nil {
			return fmt.Errorf("-of: %w", err)
		}
		members = append(members, n)
	}
	ctx, cancel := context.WithTimeout(ctx, *wait)
	defer cancel()
	return ask(ctx, app, members, strings.Join(f.Args(), " "), *wait, out)
}

// serve answers until it is interrupted.
func serve(ctx context.Context, app *session.App, answer string, out io.Writer) error {
	server := rpc.NewServer(app, rpc.ServerOptions{})
	rpc.HandleUnary(server, vote, func(ctx context.Context, question *rpc.Raw) (*rpc.Raw, error) {
		fmt.Fprintf(out, "%v asks: %s\n", rpc.InfoOf(ctx).Caller.Name.Any(), *question)
		res := rpc.Raw(answer)
		return &res, nil
	})
	if err := server.Serve(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// ask asks all members, and counts what they say.
func ask(ctx context.Context, app *session.App, members []session.Name, question string, wait time.Duration, out io.Writer) error {
	group := rpc.NewGroup(app, members, rpc.GroupOptions{Invite: wait / 2}) // who is not there by then leaves the others time to answer
	defer func() { _ = group.Close(context.WithoutCancel(ctx)) }()
	req, votes := rpc.Raw(question), map[string]int{}
	for r, err := range rpc.Ask[rpc.Raw, rpc.Raw](ctx, group, vote, &req) {
		switch {
		case err == nil:
			fmt.Fprintf(out, "%v: %s\n", r.From.Name.Any(), *r.Message)
			votes[string(*r.Message)]++
		case r.From.Name.IsZero(): // of nobody alone: the call has failed
			return err
		default:
			fmt.Fprintf(out, "%v has not voted: %v\n", r.From.Name.Any(), rpc.CodeOf(err))
		}
	}
	if len(votes) == 0 {
		return errors.New("nobody has voted")
	}
	most := slices.MaxFunc(slices.Sorted(maps.Keys(votes)), func(a, b string) int { return cmp.Compare(votes[a], votes[b]) })
	fmt.Fprintf(out, "%d for %s\n", votes[most], most)
	return nil
}
