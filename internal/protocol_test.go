package internal

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const protocolPage = "docs/protocol.md"

var (
	topicLine = regexp.MustCompile(`^## (P-[a-z]+): `)
	ruleLine  = regexp.MustCompile(`^\*\*(P-[a-z]+)-([0-9]+)\.\*\* `)
	citation  = regexp.MustCompile(`\bP-[a-z]+(?:-[0-9]+)?\b`)
	document  = regexp.MustCompile(`[\w./~-]*\w\.md\b`)
	pageLink  = regexp.MustCompile(`\]\(([^)\s]*)\)`)
)

// page is what docs/protocol.md defines and says.
type page struct {
	topics, rules map[string]bool // by id
	order         []string        // rules, as they stand
}

// readPage reads a protocol page and returns what is wrong with it by itself: an id twice, a rule out of turn or outside of
// its topic, a reference to no rule.
func readPage(text string) (p page, faults []string) {
	p = page{topics: map[string]bool{}, rules: map[string]bool{}}
	topic, last := "", 0
	for n, line := range strings.Split(text, "\n") {
		if m := topicLine.FindStringSubmatch(line); m != nil {
			if p.topics[m[1]] {
				faults = append(faults, fmt.Sprintf("line %d: topic %s again", n+1, m[1]))
			}
			p.topics[m[1]] = true
			topic, last = m[1], 0
		}
		if m := ruleLine.FindStringSubmatch(line); m != nil {
			id := m[1] + "-" + m[2]
			if last++; m[1] != topic || m[2] != fmt.Sprint(last) {
				faults = append(faults, fmt.Sprintf("line %d: rule %s, want %s-%d", n+1, id, topic, last))
			}
			p.rules[id] = true
			p.order = append(p.order, id)
		}
	}
	for n, line := range strings.Split(text, "\n") {
		for _, id := range citation.FindAllString(line, -1) {
			if !p.has(id) {
				faults = append(faults, fmt.Sprintf("line %d: there is no %s", n+1, id))
			}
		}
	}
	return p, faults
}

func (p *page) has(id string) bool { return p.rules[id] || p.topics[id] }

// The rules and the code that obeys them point at each other: what is cited exists, and a rule that nobody cites is one that
// nobody obeys, or that nobody would find when it changes.
func TestRulesAreCitedAndCitationsExist(t *testing.T) {
	root := root(t)
	b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(protocolPage)))
	if err != nil {
		t.Fatal(err)
	}
	p, faults := readPage(string(b))
	for _, f := range faults {
		t.Errorf("%s: %s", protocolPage, f)
	}
	if len(p.order) == 0 {
		t.Fatal("no rules")
	}
	cited := map[string]bool{}
	eachText(t, func(name string, text []byte) {
		if name == protocolPage || name == "internal/protocol_test.go" {
			return
		}
		code := slices.Contains([]string{".go", ".s", ".proto"}, path.Ext(name))
		for n, line := range strings.Split(string(text), "\n") {
			if !strings.Contains(line, "P-") { // most, and much faster
				continue
			}
			for _, id := range citation.FindAllString(line, -1) {
				if !p.has(id) {
					t.Errorf("%s:%d: there is no %s in %s", name, n+1, id, protocolPage)
				}
				cited[id] = cited[id] || code
			}
		}
	})
	for _, id := range p.order {
		if !cited[id] {
			t.Errorf("%s: rule %s is cited by no code and no test", protocolPage, id)
		}
	}
}

// The check itself is checked.
func TestFaultsOfAProtocolPage(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"good", "## P-a: x\n\n**P-a-1.** x, see P-a-2.\n\n**P-a-2.** y (P-a).\n\n## P-b: x\n\n**P-b-1.** y\n", ""},
		{"a number left out", "## P-a: x\n**P-a-1.** x\n**P-a-3.** y\n", "line 3: rule P-a-3, want P-a-2"},
		{"an id twice", "## P-a: x\n**P-a-1.** x\n**P-a-1.** y\n", "line 3: rule P-a-1, want P-a-2"},
		{"a rule of another topic", "## P-a: x\n**P-b-1.** x\n", "line 2: rule P-b-1, want P-a-1"},
		{"a topic twice", "## P-a: x\n## P-a: y\n", "line 2: topic P-a again"},
		{"a reference to nothing", "## P-a: x\n**P-a-1.** see P-a-2\n", "line 2: there is no P-a-2"},
	} {
		if _, got := readPage(c.text); strings.Join(got, "; ") != c.want {
			t.Errorf("%s: faults %q, want %q", c.name, got, c.want)
		}
	}
}

// A source that a reader cannot open is none: comments name documents of this repository, RFCs and nothing else.
func TestCommentsCiteDocumentsThatAreHere(t *testing.T) {
	root := root(t)
	check := func(file, where, text string, written []string) {
		for _, name := range document.FindAllString(text, -1) {
			if !documentExists(root, file, name) && !slices.Contains(written, name) {
				t.Errorf("%s: there is no document %s here", where, name)
			}
		}
	}
	eachText(t, func(name string, text []byte) {
		switch {
		case path.Ext(name) == ".go" && !bytes.Contains(text, []byte(".md")): // which speaks of no document: most, and parsing takes long
		case path.Ext(name) == ".go":
			set := token.NewFileSet()
			f, err := parser.ParseFile(set, name, text, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if ast.IsGenerated(f) {
				return
			}
			var written []string // what a program writes, it may speak of
			for n := range ast.Preorder(f) {
				if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
					written = append(written, document.FindAllString(l.Value, -1)...)
				}
			}
			for _, group := range f.Comments {
				for _, c := range group.List {
					check(name, set.Position(c.Pos()).String(), c.Text, written)
				}
			}
		case slices.Contains([]string{".proto", ".yaml", ".yml", ".sh"}, path.Ext(name)) || name == ".ci/run" || name == "Dockerfile":
			for n, line := range strings.Split(string(text), "\n") {
				if at := strings.IndexAny(line, "#/"); at >= 0 {
					check(name, fmt.Sprintf("%s:%d", name, n+1), line[at:], nil)
				}
			}
		case path.Ext(name) == ".md":
			for n, line := range strings.Split(string(text), "\n") {
				for _, m := range pageLink.FindAllStringSubmatch(line, -1) {
					target, _, _ := strings.Cut(m[1], "#")
					if target != "" && !strings.Contains(target, "://") && !documentExists(root, name, target) {
						t.Errorf("%s:%d: link to %s, which is not here", name, n+1, target)
					}
				}
			}
		}
	})
}

// documentExists reports whether name is a file of the repository, as seen from its root or from the folder of the file that
// names it.
func documentExists(root, file, name string) bool {
	for _, from := range []string{".", path.Dir(file)} {
		if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(path.Join(from, name)))); err == nil {
			return true
		}
	}
	return false
}

// eachText calls f with every text file of the repository that somebody here wrote, by its name from the root.
func eachText(t *testing.T, f func(name string, text []byte)) {
	t.Helper()
	root := root(t)
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if d.IsDir() {
			if slices.Contains([]string{".git", "bin", "node_modules", ".venv"}, d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		known := []string{".go", ".s", ".proto", ".md", ".yaml", ".yml", ".sh"}
		if !slices.Contains(known, path.Ext(name)) && name != ".ci/run" && name != "Dockerfile" || !d.Type().IsRegular() {
			return nil
		}
		b, err := os.ReadFile(file)
		if err == nil {
			f(name, b)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
