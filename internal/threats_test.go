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

// testName is a test on a page that names them: the folder of its package, and its name.
var testName = regexp.MustCompile("`([a-z0-9/]+)\\.((?:Test|Fuzz)\\w+)`")

// Each claim of these pages names a test, and each test that they name is there.
func TestPagesNameTheirTests(t *testing.T) {
	of := map[string]*pkg{}
	for _, p := range packages(t) {
		of[p.path] = &p
	}
	known := map[string][]string{} // tests of a package
	for page, least := range map[string]int{"threat-model.md": 30, "auth-upstream.md": 40, "rpc-upstream.md": 55} {
		claims := 0
		for _, line := range claimsOf(t, page) {
			claims++
			names := testName.FindAllStringSubmatch(line, -1)
			if len(names) == 0 {
				t.Errorf("%s: no test: %s", page, line)
			}
			for _, m := range names {
				p := of[m[1]]
				if p == nil {
					t.Errorf("%s: there is no package %s: %s", page, m[1], line)
					continue
				}
				if known[m[1]] == nil {
					known[m[1]] = testsOf(t, p)
				}
				if !slices.Contains(known[m[1]], m[2]) {
					t.Errorf("%s: %s has no %s: %s", page, m[1], m[2], line)
				}
			}
		}
		if claims < least {
			t.Errorf("%s: only %d claims", page, claims)
		}
	}
}

// claimsOf returns the rows of a page's tables whose last column is of tests.
func claimsOf(t *testing.T, page string) (rows []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), "docs", page))
	if err != nil {
		t.Fatal(err)
	}
	inTable := false
	for line := range strings.Lines(string(text)) {
		switch {
		case strings.HasSuffix(line, "| Tests |\n"):
			inTable = true
		case !strings.HasPrefix(line, "|"):
			inTable = false
		case inTable && !strings.HasPrefix(line, "| ---"):
			rows = append(rows, line)
		}
	}
	return rows
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
