package mls

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The table of the package comment names files, functions, vectors and tests that are there, and all checks and tests
// of rules are in it.
func TestTableOfSections(t *testing.T) {
	t.Parallel()
	read := func(pattern string) string {
		var all strings.Builder
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, p := range paths {
			b, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(b)
		}
		return all.String()
	}
	declared := map[string]map[string]bool{} // names of functions and methods, by text
	declares := func(text, name string) bool {
		names := declared[text]
		if names == nil {
			names = map[string]bool{}
			for _, m := range regexp.MustCompile(`(?m)^func (?:\([^)]*\) )?(\w+)`).FindAllStringSubmatch(text, -1) {
				names[m[1]] = true
			}
			declared[text] = names
		}
		return names[name]
	}
	tests := read("*_test.go") + read("internal/*/*_test.go")
	named := map[string]bool{}
	rows := 0
	for line := range strings.Lines(read("doc.go")) {
		cells := strings.Split(line, "|")
		if len(cells) != 4 || strings.Contains(cells[0], "Section") {
			continue
		}
		rows++
		file := strings.TrimSpace(cells[1])
		text := read(file)
		for _, f := range strings.Fields(cells[2]) {
			named[f] = true
			if !declares(text, f) {
				t.Errorf("%s declares no %s", file, f)
			}
		}
		shown := strings.Fields(cells[3])
		if len(shown) == 0 {
			t.Errorf("nothing shows %s", strings.TrimSpace(line))
		}
		for _, name := range shown {
			if vectorFiles[name] == nil && !declares(tests, name) {
				t.Errorf("%s: there is neither a test nor a vector file of that name", name)
			}
		}
	}
	if rows < 50 {
		t.Fatalf("only %d rows were found", rows)
	}
	for _, file := range []string{"validate.go", "clients.go", "credential.go", "extension.go", "list.go", "keypackage.go", "treehash.go"} {
		for _, m := range regexp.MustCompile(`(?m)^func (?:\([^)]*\) )?(check[A-Z]\w*)`).FindAllStringSubmatch(read(file), -1) {
			if !named[m[1]] && !summaries[m[1]] {
				t.Errorf("%s of %s is not in the table", m[1], file)
			}
		}
	}
}

// summaries only call other checks.
var summaries = map[string]bool{"checkLeafAlone": true, "checkLeavesTogether": true, "checkUniqueLeaf": true, "checkTogether": true, "checkAlone": true,
	"checkAdd": true}
