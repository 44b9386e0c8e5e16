package main

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed31b3bfd0/slimgo/bench/scenario"
)

// update writes what is printed into testdata instead of comparing: go test ./cmd/slim-bench -run Printed -update.
var update = flag.Bool("update", false, "write the files in testdata anew")

func TestHelpAndListsArePrintedAsInTestdata(t *testing.T) {
	for name, args := range map[string]string{
		"help.txt": "--help", "run-help.txt": "run --help", "compare-help.txt": "compare --help", "list-help.txt": "list --help",
		"relay-help.txt": "relay --help", "list.txt": "list", "top-help.txt": "top --help", "send-help.txt": "send --help",
		"receive-help.txt": "receive --help",
	} {
		code, stdout, stderr := slimBench(t, strings.Fields(args)...)
		if code != exitOK || stderr != "" {
			t.Errorf("%s: exit %d, %s", args, code, stderr)
		}
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, []byte(stdout), 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if stdout != string(want) {
			t.Errorf("slim-bench %s prints what %s does not hold; if that is right, run go test ./cmd/slim-bench -run Printed -update. It prints\n%s", args, path, stdout)
		}
	}
}

func TestHelpAndListNameEverySuite(t *testing.T) {
	_, help, _ := slimBench(t, "run", "--help")
	_, list, _ := slimBench(t, "list")
	for _, name := range scenario.Suites() {
		if !strings.Contains(help, name) || !strings.Contains(list, "suite "+name+": ") {
			t.Errorf("suite %s is missing in\n%s\n%s", name, help, list)
		}
		if _, one, _ := slimBench(t, "list", name); !strings.Contains(one, "lost <= 0") {
			t.Errorf("conditions of %s are missing in\n%s", name, one)
		}
	}
}
