package mls

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
)

// exportedTypes are all types that an application can hold and print.
var exportedTypes = map[string]reflect.Type{}

func init() {
	for _, v := range []any{Add{}, Capabilities{}, Change{}, CommitOptions{}, Committed{}, Config{}, ContentType(0), Credential{}, CredentialType(0), Error{},
		Extension{}, ExtensionType(0), Extensions{}, ExternalInit{}, ExternalOptions{}, ExternalSender{}, Group{}, GroupContextExtensions{}, Identity{},
		JoinOptions{}, KeyPackage{}, Kind(0), LeafChange{}, LeafNode{}, LeafNodeSource(0), Lifetime{}, Limits{}, Member{}, Message{}, Padding(nil), Part{}, Place(0),
		PreSharedKey{}, Presented{}, PrivateKeyPackage{}, ProposalType(0), ProtocolVersion(0), PSKID{}, PSKType(0), PSKUsage(0), Proposed{}, ReInit{}, Received{}, Roster{}, Stage(0),
		Remove{}, RequiredCapabilities{}, Saved{}, Sender{}, SenderType(0), UnknownProposal{}, Update{}, WireFormat(0)} {
		t := reflect.TypeOf(v)
		exportedTypes[t.Name()] = t
	}
	for _, t := range []reflect.Type{reflect.TypeFor[MemoryStore](), reflect.TypeFor[Unverified](), reflect.TypeFor[Verified](), reflect.TypeFor[Proposal](), reflect.TypeFor[KeyPackageStore]()} {
		exportedTypes[t.Name()] = t
	}
	exportedTypes["CipherSuite"], exportedTypes["LeafIndex"] = reflect.TypeFor[CipherSuite](), reflect.TypeFor[LeafIndex]()
	exportedTypes["SigningKey"], exportedTypes["StateKey"] = reflect.TypeFor[SigningKey](), reflect.TypeFor[StateKey]()
	exportedTypes["VerifyingKey"] = reflect.TypeFor[VerifyingKey]()
}

var formatter = reflect.TypeFor[fmt.Formatter]()

// secretTypes are what must not be printed.
var secretTypes = []reflect.Type{reflect.TypeFor[suite.Secret](), reflect.TypeFor[suite.PrivateKey](), reflect.TypeFor[SigningKey](), reflect.TypeFor[messageKey]()}

// leak is a path of fields on which fmt comes from a value of type t to a secret without calling a method that hides
// it; empty: there is none.
func leak(t reflect.Type, callable bool, seen map[reflect.Type]bool) string {
	if callable && (t.Implements(formatter) || t.Kind() != reflect.Pointer && t.Kind() != reflect.Struct && reflect.PointerTo(t).Implements(formatter)) {
		return ""
	}
	for _, s := range secretTypes {
		if t == s {
			return t.String()
		}
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return leak(t.Elem(), callable, seen)
	case reflect.Struct:
		if seen[t] {
			return ""
		}
		seen[t] = true
		defer delete(seen, t)
		for i := range t.NumField() {
			f := t.Field(i)
			if path := leak(f.Type, callable && f.IsExported(), seen); path != "" {
				return t.Name() + "." + f.Name + ": " + path
			}
		}
	}
	return ""
}

// No type of this package prints a secret that it holds, whatever is printed and how: fmt calls no methods of fields
// that are not exported.
func TestNoTypePrintsSecrets(t *testing.T) {
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		for _, d := range must[*ast.File](t)(parser.ParseFile(token.NewFileSet(), path, nil, 0)).Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.TYPE {
				continue
			}
			for _, s := range g.Specs {
				name := s.(*ast.TypeSpec).Name.Name
				if !ast.IsExported(name) {
					continue
				}
				found++
				typ := exportedTypes[name]
				if typ == nil {
					t.Errorf("type %s is not looked at", name)
					continue
				}
				for _, typ := range []reflect.Type{typ, reflect.PointerTo(typ)} {
					if typ.Kind() == reflect.Struct && slices.Contains([]string{"SigningKey", "MemoryStore", "Unverified", "Verified"}, name) {
						continue // cannot be copied
					}
					if path := leak(typ, true, map[reflect.Type]bool{}); path != "" {
						t.Errorf("%v prints %s", typ, path)
					}
				}
			}
		}
	}
	if found < 40 {
		t.Errorf("only %d types were found", found)
	}
	if leak(reflect.TypeFor[epoch](), true, map[reflect.Type]bool{}) == "" || leak(reflect.TypeFor[struct{ k *SigningKey }](), true, map[reflect.Type]bool{}) == "" {
		t.Error("the walk finds nothing")
	}
}

// The same with real values: every verb and flag, values and pointers, alone and in what an application makes of them.
func TestSecretsAreNotPrinted(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 2, 3)
	c.commit(1, CommitOptions{})
	c.agree()
	p := newPerson(t, 2, "new")
	k := p.keyPackage()
	private := must[*PrivateKeyPackage](t)(p.cfg.KeyPackages.Get(must[[]byte](t)(k.Ref())))
	g := c.members[0].group
	must[[]byte](t)(g.ProposeUpdate(Identity{}, nil))
	ch := must[*Change](t)(g.Commit(CommitOptions{}))
	kept(p.cfg)
	kept(g.cfg)
	saved := must[*Saved](t)(g.Save())
	secrets := [][]byte{stateKey.secret.Bytes()[:16], private.init.Bytes(), private.leaf.Bytes(), private.signer.Bytes(), p.cfg.Key.Bytes(), g.proposals[0].own.key.Bytes()}
	for _, e := range []*epoch{g.now, ch.next} {
		for _, s := range e.secrets.all() {
			secrets = append(secrets, s.Bytes())
		}
		for _, k := range e.keys {
			secrets = append(secrets, k.Bytes())
		}
	}
	var forms []string // of the middle of each: printing may cut at the ends
	for _, s := range secrets {
		s := s[8:16]
		forms = append(forms, string(s))
		for _, format := range []string{"%v", "%x", "%X", "% x", "% X", "%o", "%O", "%b", "%U", "%q", "%+q", "%#v", "%c", "%d"} {
			forms = append(forms, strings.Trim(fmt.Sprintf(format, s), `[]"'`))
		}
		forms = append(forms, strings.Join(strings.Fields(strings.Trim(fmt.Sprintf("%#v", s), "[]byte{}")), " "))
	}
	type hidden struct {
		g *Group
		c *Change
		p *PrivateKeyPackage
		k *SigningKey
		f *Config
		s *MemoryStore
	}
	values := []any{g, *g, ch, *ch, private, *private, p.cfg, *p.cfg, p.cfg.Key, p.cfg.KeyPackages, []*Group{g}, map[string]Change{"": *ch},
		struct{ G Group }{*g}, saved, *saved, stateKey, struct{ k *StateKey }{stateKey}, Identity{Key: p.cfg.Key}, CommitOptions{Identity: Identity{Key: p.cfg.Key}}, Received{Change: ch}, JoinOptions{Continues: g},
		fmt.Errorf("refused: %w %s %q %v", fmt.Errorf("%v", g), *g, ch, private), hidden{g, ch, private, p.cfg.Key, p.cfg, p.cfg.KeyPackages.(*MemoryStore)}}
	pairs := make([]string, 0, 2*len(forms))
	for _, f := range forms {
		pairs = append(pairs, f, "SECRET")
	}
	found := strings.NewReplacer(pairs...) // all of them in one pass
	checked := map[string]bool{}           // most formats print the same
	check := func(what, text string) {
		t.Helper()
		if checked[text] {
			return
		}
		checked[text] = true
		if found.Replace(text) != text {
			t.Errorf("%s prints a secret: %.200s", what, text)
		}
	}
	for _, v := range values {
		for _, verb := range "vsqxXdoObcUeEfFgGtpTw" {
			for _, flag := range []string{"", "+", "#", " ", "-30", "030"} {
				format := "%" + flag + string(verb)
				check(fmt.Sprintf("%s of %T", format, v), fmt.Sprintf(format, v))
			}
		}
		b, _ := json.Marshal(v)
		check(fmt.Sprintf("JSON of %T", v), string(b))
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
		check(fmt.Sprintf("log of %T", v), log.String())
	}
	if got, want := fmt.Sprint(g), "mls.Group{7468652067726f7570, epoch 2, leaf 0}"; got != want {
		t.Errorf("a group prints %q, want %q", got, want)
	}
	if got := fmt.Sprintf("%v %v %v", (*Group)(nil), Group{}, PrivateKeyPackage{}); got != "<nil> mls.Group{} mls.PrivateKeyPackage{}" {
		t.Errorf("nothing prints %q", got)
	}
}
