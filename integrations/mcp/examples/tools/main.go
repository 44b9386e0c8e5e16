// Command tools is a server of MCP with two tools, and a client of any server, over SLIM.
//
//	export SLIM_SECRET='a secret of all, 32 bytes or more'
//	tools serve -name org/demo/tools &
//	tools call -name org/demo/alice -server org/demo/tools -tool add -arguments '{"A": 1, "B": 2}'
//
// peer.py beside it is the same in Python, by slim-mcp, and each can be the other end of the other:
//
//	python peer.py call --name org/demo/py --server org/demo/tools --tool add --arguments '{"A": 1, "B": 2}'
//	python peer.py serve --name org/demo/pytools &
//	tools call -name org/demo/alice -server org/demo/pytools -tool echo -arguments '{"Text": "hello"}'
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/seed31b3bfd0/slimgo/integrations/mcp/mcpslim"
	"github.com/seed31b3bfd0/slimgo/session"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Getenv, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "tools:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, env func(string) string, out io.Writer) error {
	if len(args) == 0 || args[0] != "serve" && args[0] != "call" {
		return errors.New("say what to do: serve, or call")
	}
	f := flag.NewFlagSet("tools "+args[0], flag.ContinueOnError)
	name := f.String("name", "org/demo/tools", "own name")
	node := f.String("node", session.DefaultNode, "URL of a node")
	server := f.String("server", "org/demo/tools", "whom to call")
	tool := f.String("tool", "", "the tool to call; empty: list them")
	arguments := f.String("arguments", "{}", "of the tool, in JSON")
	if err := f.Parse(args[1:]); err != nil {
		return err
	}
	own, err := session.ParseName(*name)
	if err != nil {
		return err
	}
	app, err := session.Connect(ctx, session.Options{
		Name: own, Secret: []byte(env("SLIM_SECRET")), Nodes: []string{*node}, Logger: slog.Default(),
	})
	if err != nil {
		return err
	}
	defer func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = app.Close(ending) // nothing that matters is under way
	}()
	if args[0] == "serve" {
		return serve(ctx, app, out)
	}
	target, err := session.ParseName(*server)
	if err != nil {
		return err
	}
	return call(ctx, app, target, *tool, *arguments, out)
}

// numbers are the arguments of add.
type numbers struct {
	A float64 `json:"A" jsonschema:"one number"`
	B float64 `json:"B" jsonschema:"the other"`
}

func serve(ctx context.Context, app *session.App, out io.Writer) error {
	tools := mcp.NewServer(&mcp.Implementation{Name: "tools", Version: "v1"}, nil)
	mcp.AddTool(tools, &mcp.Tool{Name: "add", Description: "adds two numbers"}, func(_ context.Context, _ *mcp.CallToolRequest, n numbers) (*mcp.CallToolResult, any, error) {
		return text(fmt.Sprint(n.A + n.B)), nil, nil
	})
	mcp.AddTool(tools, &mcp.Tool{Name: "whoami", Description: "says who calls"}, func(_ context.Context, r *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		caller, ok := mcpslim.CallerOf(r.Extra)
		if !ok {
			return nil, nil, errors.New("a plain session says nothing of that which could be believed")
		}
		return text(caller.Name.String()), nil, nil
	})
	fmt.Fprintln(out, "serving as", app.Name())
	err := mcpslim.NewServer(app, tools, mcpslim.ServerOptions{Logger: slog.Default()}).Serve(ctx)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func text(s string) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: s}}}
}

func call(ctx context.Context, app *session.App, server session.Name, tool, arguments string, out io.Writer) error {
	client := mcp.NewClient(&mcp.Implementation{Name: "tools", Version: "v1"}, nil)
	s, err := client.Connect(ctx, &mcpslim.ClientTransport{App: app, Server: server}, nil)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	if tool == "" {
		for t, err := range s.Tools(ctx, nil) {
			if err != nil {
				return err
			}
			fmt.Fprintf(out, "%s: %s\n", t.Name, t.Description)
		}
		return nil
	}
	res, err := s.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: json.RawMessage(arguments)})
	if err != nil {
		return err
	}
	for _, c := range res.Content {
		if t, ok := c.(*mcp.TextContent); ok {
			fmt.Fprintln(out, t.Text)
		}
	}
	if res.IsError {
		return fmt.Errorf("%s has failed", tool)
	}
	return nil
}
