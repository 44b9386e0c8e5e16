// Package internal checks what the compiler does not: who may import whom, that every package says once what it is, and
// that files stay readable and free of one machine's paths.
package internal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"
)

const (
	module    = "github.com/seed31b3bfd0/slimgo"
	invariant = "internal/invariant" // open to all
	top       = 7                    // programs, interoperation, examples: nobody imports them, and only they may import config

	maxLines = 600 // of a file that is neither test nor generated
)

// rule is one row of the package map. A package imports rows of lower levels, never its own, and of other modules only
// what its row names. The parts of bench are one level in steps, which import lower steps. Test files may import
// anything. A row may stand here before its package does.
type rule struct {
	path    string // below the module; a trailing "/..." covers all below it
	level   int
	step    int      // within a level
	outside []string // import paths, with everything below them
	only    string   // of the module it imports nothing outside this tree; empty: anything
}

var rules = []rule{
	{path: "wire", outside: []string{"github.com/cespare/xxhash/v2", "github.com/zeebo/xxh3"}}, // name hashes
	{path: "wire/h2", outside: []string{"golang.org/x/net/http2/hpack"}},
	{path: "wire/ws"},
	{path: "wire/compress", outside: []string{"github.com/klauspost/compress"}}, // formats that have no reason to be written twice
	{path: "pool", outside: []string{"github.com/valyala/bytebufferpool"}},
	{path: "internal/fifo"},
	{path: "internal/leak", outside: []string{"go.uber.org/goleak"}}, // for tests
	{path: "internal/ports"}, // for tests
	{path: "internal/suggest"},
	{path: "internal/discovery", level: 1},
	{path: "internal/discovery/kubetest"}, // for tests
	{path: "internal/watch", outside: []string{"github.com/fsnotify/fsnotify"}},
	{path: invariant},

	// mls is for everyone: it imports nothing of this module but what is below it, which is for it alone.
	{path: "mls/internal/codec", level: -3},
	{path: "mls/internal/treemath", level: -3},
	{path: "mls/internal/vectors", level: -3},
	{path: "mls/internal/recent", level: -3},
	{path: "mls/internal/hpke", level: -3, outside: []string{"github.com/cloudflare/circl/dh", "github.com/cloudflare/circl/kem/mlkem/mlkem768",
		"golang.org/x/crypto/chacha20poly1305"}},
	{path: "mls/internal/p256", level: -2, only: "mls", outside: []string{"filippo.io/nistec"}},
	{path: "mls/internal/edwards", level: -2, only: "mls", outside: []string{"filippo.io/edwards25519", "filippo.io/edwards25519/field"}},
	{path: "mls/internal/suite", level: -1, only: "mls", outside: []string{"github.com/cloudflare/circl/sign/ed448"}},
	{path: "mls", only: "mls", outside: []string{"golang.org/x/crypto/cryptobyte"}},

	{path: "config", level: 2, outside: []string{"go.yaml.in/yaml/v4", "golang.org/x/net/http/httpguts"}},
	{path: "wire/pb", level: 1, outside: []string{"google.golang.org/protobuf"}},
	{path: "wire/pb/controllerpb", level: 2, outside: []string{"google.golang.org/protobuf"}},
	{path: "wire/mac", level: 1},
	{path: "wire/link", level: 1, outside: []string{"github.com/cloudflare/circl/dh/x25519", "github.com/cloudflare/circl/kem/mlkem/mlkem768"}},
	{path: "router/table", level: 1},
	{path: "internal/simnet", level: 1},
	{path: "internal/connect", level: 1, outside: []string{"golang.org/x/net/http/httpguts", "golang.org/x/net/http/httpproxy"}},
	{path: "internal/usage", outside: []string{"github.com/prometheus/procfs", "golang.org/x/sys/unix"}},
	{path: "internal/venv", outside: []string{"golang.org/x/sys/unix"}}, // for tests
	{path: "internal/certs/certstest", level: 1},
	{path: "internal/certs", level: 1},
	{path: "internal/auth"},
	{path: "internal/auth/strict"},
	{path: "internal/auth/jose", outside: []string{"github.com/lestrrat-go/jwx/v3"}}, // signatures and keys of JOSE
	{path: "internal/auth/jwt", level: 1},
	{path: "internal/auth/policy", level: 1, outside: []string{"cel.dev/cel-go", // the languages of policies
		"github.com/open-policy-agent/opa/v1/ast", "github.com/open-policy-agent/opa/v1/storage", "github.com/open-policy-agent/opa/v1/topdown"}},
	{path: "internal/auth/rules", level: 1},
	{path: "internal/auth/fetch", outside: []string{"golang.org/x/sync/singleflight"}}, // one request for all who ask
	{path: "internal/auth/oidc", level: 2, outside: []string{"go.yaml.in/yaml/v4"}},
	{path: "internal/auth/oidc/idptest", level: 1, outside: []string{"github.com/zitadel/oidc/v3/pkg", "github.com/go-jose/go-jose/v4"}}, // for tests
	{path: "internal/auth/spire", level: 2, outside: []string{"github.com/spiffe/go-spiffe/v2", "github.com/go-jose/go-jose/v4", "google.golang.org/grpc"}},
	{path: "internal/auth/spire/spiretest", level: 1, outside: []string{"github.com/spiffe/go-spiffe/v2/proto", "github.com/go-jose/go-jose/v4", "google.golang.org/grpc"}},
	{path: "internal/chromium", level: 1, outside: []string{"github.com/coder/websocket"}}, // the debugging protocol of browsers

	{path: "router/mesh", level: 2},
	{path: "router/hop", level: 2},
	{path: "router/netloop", level: 2, outside: []string{"github.com/panjf2000/gnet/v2", "golang.org/x/sys/unix"}},

	{path: "router/transport", level: 3},
	{path: "session/uplink", level: 3},
	{path: "session/internal/message", level: 1, outside: []string{"google.golang.org/protobuf/encoding/protowire"}},
	{path: "session/internal/reliable", level: 1},
	{path: "session/internal/identity", level: 2},
	{path: "session/internal/workers", level: 2},
	{path: "session/internal/group", level: 3},
	{path: "session/internal/store", level: 1},
	{path: "session/internal/store/storetest", level: 2},
	{path: "session/sqlite", level: 2, outside: []string{"modernc.org/sqlite"}},

	{path: "router", level: 4},
	{path: "session", level: 4},
	{path: "internal/faults", level: 4},

	{path: "session/sessiontest", level: 5},
	{path: "session/rpc", level: 5, outside: []string{"google.golang.org/protobuf/proto"}},
	{path: "session/rpc/slimrpc", level: 5, step: 1, outside: []string{"google.golang.org/protobuf/proto"}},
	{path: "session/rpc/rpcgrpc", level: 5, step: 1, outside: []string{"google.golang.org/grpc"}}, // which apps without it do not carry
	{path: "session/identity", level: 5},                                                          // and below it, each with what it stands on, which apps without it do not carry:
	{path: "session/identity/internal/claims", level: 5},
	{path: "session/identity/jwt", level: 5, step: 1}, // JOSE, by internal/auth/jwt
	{path: "session/identity/oidc", level: 5, step: 1},
	{path: "session/identity/spiffe", level: 5, step: 1},
	{path: "internal/admin", level: 5, outside: []string{"github.com/prometheus/client_golang/prometheus"}},             // the format of metrics
	{path: "internal/agent", level: 5, outside: []string{"google.golang.org/grpc", "google.golang.org/protobuf/proto"}}, // the control channel
	{path: "internal/cli", level: 5, outside: []string{"golang.org/x/term"}},

	{path: "bench/process", level: 6, outside: []string{"github.com/kballard/go-shellquote", "github.com/prometheus/procfs", "golang.org/x/sys/unix"}},
	{path: "bench/load", level: 6, step: 1, outside: []string{"github.com/HdrHistogram/hdrhistogram-go", "golang.org/x/sync/errgroup",
		"golang.org/x/sys/unix"}},
	{path: "bench/client", level: 6, step: 2, outside: []string{"google.golang.org/protobuf/proto"}},
	{path: "bench/result", level: 6, step: 2, outside: []string{"golang.org/x/perf/benchmath", "github.com/aclements/go-moremath/stats"}}, // distributions
	{path: "bench/relay", level: 6, step: 3},
	{path: "bench/report", level: 6, step: 3, outside: []string{"github.com/HdrHistogram/hdrhistogram-go"}},
	{path: "bench/scenario", level: 6, step: 3, outside: []string{"go.yaml.in/yaml/v4", "golang.org/x/sync/errgroup"}},

	{path: "cmd/protoc-gen-slimrpc", level: top, outside: []string{"google.golang.org/protobuf/compiler/protogen",
		"google.golang.org/protobuf/types/descriptorpb", "google.golang.org/protobuf/types/pluginpb"}},
	{path: "cmd/...", level: top, outside: []string{"github.com/spf13/pflag", "github.com/spf13/cobra",
		"google.golang.org/protobuf/types/known/structpb"}}, // metadata of listeners, for control planes
	{path: "integrations/mcp/mcpslim", level: top, outside: []string{"github.com/modelcontextprotocol/go-sdk"}},
	{path: "integrations/mcp/examples/...", level: top, step: 1, outside: []string{"github.com/modelcontextprotocol/go-sdk/mcp"}},
	{path: "integrations/otel/otelslim", level: top, outside: []string{"go.opentelemetry.io/otel/exporters/otlp", "go.opentelemetry.io/otel/sdk",
		"go.opentelemetry.io/proto/otlp", "google.golang.org/protobuf/proto"}},
	{path: "integrations/otel/examples/...", level: top, step: 1, outside: []string{"go.opentelemetry.io/otel", "go.opentelemetry.io/proto/otlp"}},
	{path: "interop/...", level: top},
	{path: "examples/calculator/calculatorpb", level: top, outside: []string{"google.golang.org/protobuf"}}, // generated
	{path: "examples/...", level: top, step: 1},

	// Modules of their own, so that nobody else carries what they stand on.
	{path: "integrations/a2a/internal/a2av1", level: top, outside: []string{"google.golang.org/protobuf"}}, // generated
	{path: "integrations/a2a/a2aslim", level: top, step: 1, outside: []string{"github.com/a2aproject/a2a-go", "google.golang.org/protobuf/types/known"}},
	{path: "integrations/a2a/examples/...", level: top, step: 2, outside: []string{"github.com/a2aproject/a2a-go"}},
}

// unsafeIn says where package unsafe may be used, and what for. cgo may be used nowhere.
var unsafeIn = map[string]string{
	"wire/pb":                          "generated code",
	"wire/pb/controllerpb":             "generated code",
	"router/netloop":                   "the vectors of writev(2)",
	"examples/calculator/calculatorpb": "generated code",
	"integrations/a2a/internal/a2av1":  "generated code",
}

// pkg is a package with its files, test files apart. Files for all systems and build tags count.
type pkg struct {
	path         string // below the module
	dir          string
	files, tests []string
}

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		for _, name := range p.files {
			for _, spec := range parse(t, filepath.Join(p.dir, name), parser.ImportsOnly).Imports {
				imported, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				if err := allowed(p.path, imported); err != nil {
					t.Errorf("%s: %v", path.Join(p.path, name), err)
				}
			}
		}
	}
}

// A row names no module that none of its packages imports: what is not used may not creep back unseen.
func TestRowsNameWhatIsImported(t *testing.T) {
	type use struct {
		row     *rule
		outside string
	}
	used := map[use]bool{}
	here := map[*rule]bool{}
	for _, p := range packages(t) {
		r := find(p.path)
		if r == nil {
			continue // TestImports says so
		}
		here[r] = true
		for _, name := range p.files {
			for _, spec := range parse(t, filepath.Join(p.dir, name), parser.ImportsOnly).Imports {
				imported, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				for _, o := range r.outside {
					if within(imported, o) {
						used[use{r, o}] = true
					}
				}
			}
		}
	}
	for i := range rules {
		for _, o := range rules[i].outside {
			if r := &rules[i]; here[r] && !used[use{r, o}] {
				t.Errorf("the row of %s names %s, which nothing there imports", r.path, o)
			}
		}
	}
}

// allowed tells why the package at from, a path below the module, must not import the import path imported.
func allowed(from, imported string) error {
	r := find(from)
	if r == nil {
		return fmt.Errorf("package %s has no row in the table of internal/arch_test.go: give it one", from)
	}
	own, isOwn := strings.CutPrefix(imported, module+"/")
	first, _, _ := strings.Cut(imported, "/")
	switch {
	case isOwn:
		return allowedOwn(r, own)
	case imported == "C":
		return errors.New("imports C: this module has no cgo")
	case imported == "unsafe":
		if unsafeIn[from] == "" {
			return errors.New("imports unsafe: show a benchmark that needs it, then name it in internal/arch_test.go")
		}
	case strings.Contains(first, ".") && !slices.ContainsFunc(r.outside, func(o string) bool { return within(imported, o) }):
		return fmt.Errorf("imports %s, which its row does not name", imported)
	}
	return nil
}

func allowedOwn(r *rule, imported string) error {
	to := find(imported)
	switch {
	case to == nil:
		return fmt.Errorf("imports %s, which has no row", imported)
	case r.only != "" && !within(imported, r.only):
		return fmt.Errorf("imports %s: of this module it may import only what is below %s", imported, r.only)
	case imported == invariant:
		return nil
	case imported == "config" && r.level != top:
		return errors.New("imports config: only programs know the configuration; take an options struct")
	case within(imported, "mls") && within(r.path, "router"):
		return errors.New("imports mls: a node does not look into what it forwards")
	case within(imported, "session") && within(r.path, "router"):
		return errors.New("imports session: a node knows no apps; programs wire the two")
	case within(imported, "router") && within(r.path, "session"):
		return errors.New("imports router: an app knows no node; programs wire the two")
	case to.level < r.level || to.level == r.level && to.step < r.step:
		return nil
	}
	return fmt.Errorf("is on level %d and imports %s of level %d: imports point to lower levels only", r.level, imported, to.level)
}

// find returns the row of the package at p, nil if there is none.
func find(p string) *rule {
	for i := range rules {
		tree, isTree := strings.CutSuffix(rules[i].path, "/...")
		if p == rules[i].path || isTree && within(p, tree) {
			return &rules[i]
		}
	}
	return nil
}

// within reports whether p is tree or below it.
func within(p, tree string) bool { return p == tree || strings.HasPrefix(p, tree+"/") }

// The check itself is checked: what it must refuse, and the near misses that it must not.
func TestImportRules(t *testing.T) {
	const own = module + "/"
	for _, c := range []struct {
		name, from, imported string
		want                 bool
	}{
		{"the format knows nobody", "wire", own + "router", false},
		{"not even its own row", "wire", own + "wire/h2", false},
		{"nor generated protobuf", "wire", own + "wire/pb", false},
		{"the two engines know no other", "wire/ws", own + "wire/h2", false},
		{"level 1 uses level 0", "wire/link", own + "wire", true},
		{"level 1 does not use level 1", "wire/link", own + "router/table", false},
		{"a leaf does not know its user", "router/table", own + "router", false},
		{"the router uses its leaves", "router", own + "wire/link", true},
		{"the router does not read configuration", "router", own + "config", false},
		{"a program does", "cmd/slim", own + "config", true},
		{"what programs share knows no configuration", "internal/cli", own + "config", false},
		{"a program may measure", "cmd/slim-bench", own + "bench/scenario", true},
		{"a measurement is no program", "bench/scenario", own + "config", false},
		{"a part of bench may use a lower step", "bench/load", own + "bench/process", true},
		{"and no higher one", "bench/process", own + "bench/load", false},
		{"nor its own", "bench/scenario", own + "bench/report", false},
		{"a measurement does not use a program", "bench/scenario", own + "cmd/slim", false},
		{"programs do not use each other", "interop", own + "cmd/slim", false},
		{"nobody uses a program", "router", own + "cmd/slim", false},
		{"mls uses its parts", "mls", own + "mls/internal/suite", true},
		{"mls stands alone", "mls", own + "wire", false},
		{"mls stands alone, invariants or not", "mls", own + "internal/invariant", false},
		{"the router knows no mls", "router/mesh", own + "mls", false},
		{"an app's connection speaks the protocols", "session/uplink", own + "wire/link", true},
		{"an app's connection knows no node", "session/uplink", own + "router/table", false},
		{"a node knows no app's connection", "router", own + "session/uplink", false},
		{"transport stands on loops", "router/transport", own + "router/netloop", true},
		{"loops know no transport", "router/netloop", own + "router/transport", false},
		{"gnet in transport", "router/transport", "github.com/panjf2000/gnet/v2", false},
		{"invariants are open to all", "wire", own + "internal/invariant", true},
		{"invariants know nobody", "internal/invariant", own + "wire", false},
		{"a package without a row", "helper", "fmt", false},
		{"the import of a package without a row", "router", own + "helper", false},
		{"a named module", "router/netloop", "github.com/panjf2000/gnet/v2", true},
		{"a package of a named module", "router/netloop", "github.com/panjf2000/gnet/v2/pkg/logging", true},
		{"a named module elsewhere", "wire", "github.com/panjf2000/gnet/v2", false},
		{"a neighbour of a named package", "wire/h2", "golang.org/x/net/http2", false},
		{"a name that only begins alike", "router/netloop", "github.com/panjf2000/gnet/v20", false},
		{"the standard library", "wire", "encoding/binary", true},
		{"cgo", "router", "C", false},
		{"unsafe where it is named", "router/netloop", "unsafe", true},
		{"unsafe elsewhere", "wire", "unsafe", false},
	} {
		if err := allowed(c.from, c.imported); (err == nil) != c.want {
			t.Errorf("%s: %s importing %s: %v", c.name, c.from, c.imported, err)
		}
	}
}

// A package says what it is in one file, else a reader finds one half and takes it for the whole.
func TestOnePackageComment(t *testing.T) {
	for _, p := range packages(t) {
		files := p.files
		if len(files) == 0 {
			files = p.tests
		}
		var with []string
		for _, name := range files {
			f := parse(t, filepath.Join(p.dir, name), parser.PackageClauseOnly|parser.ParseComments)
			if f.Doc == nil {
				continue
			}
			with = append(with, name)
			if text := f.Doc.Text(); f.Name.Name != "main" && !strings.HasPrefix(text, "Package "+f.Name.Name+" ") {
				t.Errorf("%s: the package comment does not begin with \"Package %s\"", path.Join(p.path, name), f.Name.Name)
			}
		}
		if len(with) != 1 {
			t.Errorf("%s has %d package comments, want one: %v", p.path, len(with), with)
		}
	}
}

func TestFilesStayShort(t *testing.T) {
	for _, p := range packages(t) {
		for _, name := range p.files {
			file := filepath.Join(p.dir, name)
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(b, []byte("\n")); n > maxLines && !ast.IsGenerated(parse(t, file, parser.ParseComments)) {
				t.Errorf("%s has %d lines, more than %d: which story of it stands on its own?", path.Join(p.path, name), n, maxLines)
			}
		}
	}
}

// The load tool is only worth what those who decide by it can read of it.
func TestBenchStaysSmall(t *testing.T) {
	const most, ofTests = 8500 + 40, 0.6 // lines, 40 of them for meshes and calls in files of others, and so many of those of tests for each
	code, sessions, meshes, tests := 0, 0, 0, 0
	for _, p := range packages(t) {
		if !within(p.path, "bench") && p.path != "cmd/slim-bench" {
			continue
		}
		for _, name := range slices.Concat(p.files, p.tests) {
			b, err := os.ReadFile(filepath.Join(p.dir, name))
			if err != nil {
				t.Fatal(err)
			}
			switch n := bytes.Count(b, []byte("\n")); {
			case strings.HasSuffix(name, "_test.go"):
				tests += n
			case p.path == "bench/scenario" && (name == "sessions.go" || name == "apps.go" || name == "calls.go"): // apps that talk and call, which it measures beside nodes
				sessions += n
			case name == "mesh.go": // nodes that are peers of each other, and the scenario that has them
				meshes += n
			default:
				code += n
			}
		}
	}
	if code == 0 || code > most || float64(tests) < ofTests*float64(code+sessions+meshes) {
		t.Errorf("%d lines, %d of scenarios with sessions and %d of meshes, %d of tests: want %d at most beside those of both, and %g times as many of tests",
			code, sessions, meshes, tests, most, ofTests)
	}
	t.Logf("%d lines, %d of sessions, %d of meshes, %d of tests", code, sessions, meshes, tests)
}

// A path of the machine that something was written on is a mistake on every other. Files of others, under testdata, are
// left as they are.
func TestNoPathsOfOneMachine(t *testing.T) {
	var marks [][]byte
	for _, dir := range []string{"work", "root", "home", "farm", "tmp"} {
		marks = append(marks, []byte("/"+dir+"/"))
	}
	root := root(t)
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if slices.Contains([]string{".git", "bin", "testdata", "node_modules", ".venv"}, d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || d.Name() == "go.sum" || d.Name() == ".git" { // .git is a file in a linked work tree
			return nil
		}
		b, err := os.ReadFile(file)
		if err != nil || bytes.IndexByte(b, 0) >= 0 { // unreadable, or no text
			return err
		}
		for n, line := range bytes.Split(b, []byte("\n")) {
			for _, mark := range marks {
				if at := bytes.Index(line, mark); at >= 0 && (at == 0 || !isPathByte(line[at-1])) {
					t.Errorf("%s:%d: path of one machine: %s", file[len(root)+1:], n+1, bytes.TrimSpace(line))
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// isPathByte reports whether c before a slash makes it the middle of a longer path or of an import path.
func isPathByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._-})", c) >= 0
}

// listed is what go list says of the packages of this module and of those below integrations, for all tests once.
var listed = sync.OnceValues(func() (all []byte, err error) {
	mods, err := filepath.Glob("../integrations/*/go.mod")
	if err != nil {
		return nil, err
	}
	var side errgroup.Group
	outs := make([][]byte, 1+len(mods))
	for i, mod := range append([]string{"../go.mod"}, mods...) {
		side.Go(func() error {
			cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Dir,GoFiles,CgoFiles,IgnoredGoFiles,TestGoFiles,XTestGoFiles", "./...")
			cmd.Dir = filepath.Dir(mod)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil {
				return fmt.Errorf("go list in %s: %w\n%s", cmd.Dir, err, &stderr)
			}
			outs[i] = out
			return nil
		})
	}
	if err := side.Wait(); err != nil {
		return nil, err
	}
	return bytes.Join(outs, nil), nil
})

// packages lists the packages of this module and of those below integrations.
func packages(t *testing.T) []pkg {
	t.Helper()
	out, err := listed()
	if err != nil {
		t.Fatal(err)
	}
	var list []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var l struct {
			ImportPath, Dir                                              string
			GoFiles, CgoFiles, IgnoredGoFiles, TestGoFiles, XTestGoFiles []string
		}
		if err := d.Decode(&l); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		p := pkg{path: strings.TrimPrefix(strings.TrimPrefix(l.ImportPath, module), "/"), dir: l.Dir}
		for _, f := range slices.Concat(l.GoFiles, l.CgoFiles, l.IgnoredGoFiles, l.TestGoFiles, l.XTestGoFiles) {
			if strings.HasSuffix(f, "_test.go") {
				p.tests = append(p.tests, f)
			} else {
				p.files = append(p.files, f)
			}
		}
		list = append(list, p)
	}
	if len(list) < len(rules)/2 {
		t.Fatalf("go list names only %d packages", len(list))
	}
	return list
}

// root returns the folder of go.mod: tests run in the folder of their package.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func parse(t *testing.T, file string, mode parser.Mode) *ast.File {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, mode)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
