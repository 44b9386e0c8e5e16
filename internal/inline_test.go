//go:build amd64 && linux && !race && !invariants

package internal

import (
	"bytes"
	"debug/elf"
	"debug/gosym"
	"encoding/binary"
	"os"
	"strings"
	"testing"

	"github.com/seed31b3bfd0/slimgo/router"
)

// inlined are the small functions on the way of a message that the compiler has to dissolve into their callers: a claim
// about speed that a change of their bodies can break without any test of behaviour noticing. With the race detector and the
// checks of invariants they are larger, and nobody minds.
var inlined = map[string][]string{
	"wire":         {"Span.Of", "Span.Len", "one", "sizeVarint"},
	"wire/h2":      {"(*Conn).Control", "(*Conn).Cut", "(*Conn).find", "(*Stream).Window"},
	"pool":         {"(*Buf).Retain"},
	"router/table": {"next", "rank", "(*node[…]).bit"},
	"router/hop":   {"(*Known).beginsWith", "(*outMemory).at", "spread"},
	"router/netloop": {"(*Socket).Takes", "(*Socket).Box", "(*Socket).Outbox", "(*Outbox).Fits", "(*Outbox).FitsCopied",
		"(*Outbox).Add"},
	"router/transport": {"(*Message).Set", "(*Message).head", "(*Message).Tail", "appendEnvelope"},
	"router":           {"(*ring).at", "(*queue).len", "(*queue).refuses", "(*budget).step", "(*fanouts).idle", "(*fanouts).waits"},
}

// A function that all its callers have inlined is named in the tables of the program, for stack traces, and no instruction calls
// it. This program holds a node for that: to build one again for the compiler's report takes longer than all other tests here.
func TestHotFunctionsAreInlined(t *testing.T) {
	keepNode(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.Open(exe)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tables, err := f.Section(".gopclntab").Data()
	if err != nil {
		t.Fatal(err)
	}
	code := f.Section(".text")
	text, err := code.Data()
	if err != nil {
		t.Fatal(err)
	}
	functions, err := gosym.NewTable(nil, gosym.NewLineTable(tables, code.Addr))
	if err != nil {
		t.Fatal(err)
	}
	called := callees(text, code.Addr)
	calls := map[string]bool{} // by name, of functions that have code of their own
	for _, fn := range functions.Funcs {
		calls[fn.Name] = called[fn.Entry]
	}
	if !calls[module+"/router.Start"] {
		t.Fatal("this program holds no node")
	}
	named := map[string]bool{}
	for name := range bytes.SplitSeq(tables, []byte{0}) {
		if bytes.HasPrefix(name, []byte(module)) {
			named[string(name)] = true
		}
	}
	for pkg, list := range inlined {
		for _, name := range list {
			first, last, instance := strings.Cut(module+"/"+pkg+"."+name, "…")
			found := false
			for name := range named {
				if name == first && !instance || instance && strings.HasPrefix(name, first) && strings.HasSuffix(name, last) {
					found = true
					if calls[name] {
						t.Errorf("%s is not inlined everywhere", name)
					}
				}
			}
			if !found {
				t.Errorf("%s: %s is not part of the node", pkg, name)
			}
		}
	}
}

// callees returns what is called directly by code that lies at addr: the instruction e8 with a distance of four bytes. It finds
// a few addresses that nobody calls, too.
func callees(code []byte, addr uint64) map[uint64]bool {
	called := map[uint64]bool{}
	for i, b := range code[:len(code)-4] {
		if b == 0xe8 {
			called[addr+uint64(i)+5+uint64(int64(int32(binary.LittleEndian.Uint32(code[i+1:]))))] = true
		}
	}
	return called
}

// keepNode has the linker keep a node in this program.
func keepNode(t *testing.T) {
	if n, err := router.Start(t.Context(), router.Options{}); err == nil {
		_ = n.Shutdown(t.Context())
	}
}
