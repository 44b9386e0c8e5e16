package session_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"
)

// Each main call has an example that runs.
func TestCallsHaveExamples(t *testing.T) {
	there := map[string]bool{}
	list, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		if !strings.HasPrefix(f.Name(), "example") || !strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(fn.Name.Name, "Example") {
				continue
			}
			runs := false
			for _, c := range parsed.Comments {
				text := strings.ToLower(c.Text())
				runs = runs || c.Pos() > fn.Pos() && c.End() < fn.End() && (strings.HasPrefix(text, "output:") || strings.HasPrefix(text, "unordered output:"))
			}
			if !runs {
				t.Errorf("%s does not run", fn.Name.Name)
			}
			there[strings.TrimPrefix(fn.Name.Name, "Example")] = true
		}
	}
	for _, call := range []string{
		"", "Connect", "ParseName",
		"App_Open", "App_OpenGroup", "App_Listen", "App_Subscribe", "App_Sessions", "App_Stop",
		"Listener_Accept", "Listener_Sessions",
		"Session_Publish", "Session_PublishTo", "Session_Receive", "Session_Messages", "Session_Events", "Session_NextEvent",
		"Session_Invite", "Session_Remove", "Session_Suspend", "Session_Resume", "Session_Close",
		"Message_Reply", "Message_Handled", "Delivery_Wait",
	} {
		if !there[call] {
			t.Errorf("%s has none", call)
		}
	}
}
