package internal

import (
	"os/exec"
	"strings"
	"testing"
)

// inlined are the small functions on the way of a message that the compiler has to dissolve into their callers: a claim
// about speed that a change of their bodies can break without any test of behaviour noticing.
var inlined = map[string][]string{
	"wire":         {"Span.Of", "Span.Len", "one", "sizeVarint"},
	"wire/h2":      {"(*Conn).Control", "(*Conn).Cut", "(*Conn).find", "(*Stream).Window"},
	"pool":         {"(*Buf).Retain"},
	"router/table": {"next", "rank"},
	"router/hop":   {"(*Known).beginsWith", "(*outMemory).at", "spread"},
	"router/netloop": {"(*Socket).Takes", "(*Socket).Box", "(*Socket).Outbox", "(*Outbox).Fits", "(*Outbox).FitsCopied",
		"(*Outbox).Add"},
	"router/transport": {"(*Message).Set", "(*Message).head", "(*Message).Tail", "appendEnvelope"},
	"router": {"(*ring).at", "(*queue).len", "(*queue).refuses", "(*budget).step", "(*fanouts).idle", "(*fanouts).waits",
		"table.(*node[*github.com/seed31b3bfd0/slimgo/router/table.entry[github.com/seed31b3bfd0/slimgo/router.Conn]]).bit"},
}

func TestHotFunctionsAreInlined(t *testing.T) {
	for pkg, names := range inlined {
		out, err := exec.Command("go", "build", "-gcflags=-m", "../"+pkg).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		can := map[string]bool{}
		for line := range strings.Lines(string(out)) {
			if _, name, ok := strings.Cut(line, "can inline "); ok {
				name, _, _ = strings.Cut(strings.TrimSpace(name), " with cost")
				can[name] = true
			}
		}
		for _, name := range names {
			if !can[name] {
				t.Errorf("%s: %s is not inlined", pkg, name)
			}
		}
	}
}
