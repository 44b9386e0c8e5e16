package internal

import (
	"go/ast"
	"go/parser"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// testName is a test in the threat model: the folder of its package, and its name.
var testName = regexp.MustCompile("`([a-z0-9/]+)\\.((?:Test|Fuzz)\\w+)`")

// Each claim of the threat model names a test, and each test that it names is there.
func TestThreatModel(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root(t), "docs", "threat-model.md"))
	if err != nil {
		t.Fatal(err)
	}
	of := map[string]*pkg{}
	for _, p := range packages(t) {
		of[p.path] = &p
	}
	known := map[string][]string{} // tests of a package
	claims := 0
	inTable := false
	for line := range strings.Lines(string(page)) {
		if line == "| Claim | Tests |\n" {
			inTable = true
			continue
		}
		if inTable = inTable && strings.HasPrefix(line, "|"); !inTable || strings.HasPrefix(line, "| ---") {
			continue
		}
		claims++
		names := testName.FindAllStringSubmatch(line, -1)
		if len(names) == 0 {
			t.Errorf("no test: %s", line)
		}
		for _, m := range names {
			p := of[m[1]]
			if p == nil {
				t.Errorf("there is no package %s: %s", m[1], line)
				continue
			}
			if known[m[1]] == nil {
				known[m[1]] = testsOf(t, p)
			}
			if !slices.Contains(known[m[1]], m[2]) {
				t.Errorf("%s has no %s: %s", m[1], m[2], line)
			}
		}
	}
	if claims < 30 {
		t.Errorf("only %d claims", claims)
	}
}

// testsOf returns the names of a package's tests.
func testsOf(t *testing.T, p *pkg) (names []string) {
	t.Helper()
	for _, name := range p.tests {
		for _, d := range parse(t, filepath.Join(p.dir, name), parser.SkipObjectResolution).Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
				names = append(names, f.Name.Name)
			}
		}
	}
	return names
}
