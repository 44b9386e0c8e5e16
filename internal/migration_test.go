package internal

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// exported returns what a package has: Func, Type, Type.Method, Type.Field, Const.
func exported(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files := token.NewFileSet()
	//nolint:staticcheck // one package of one folder, whose build tags do not matter
	packages, err := parser.ParseDir(files, dir, func(f fs.FileInfo) bool { return !strings.HasSuffix(f.Name(), "_test.go") }, parser.ParseComments)
	if err != nil || len(packages) != 1 {
		t.Fatalf("%v, %v", packages, err)
	}
	names := map[string]bool{}
	values := func(all []*doc.Value) {
		for _, v := range all {
			for _, name := range v.Names {
				names[name] = true
			}
		}
	}
	for _, p := range packages {
		d := doc.New(p, dir, 0)
		values(d.Consts)
		values(d.Vars)
		for _, f := range d.Funcs {
			names[f.Name] = true
		}
		for _, typ := range d.Types {
			names[typ.Name] = true
			values(typ.Consts)
			values(typ.Vars)
			for _, f := range typ.Funcs {
				names[f.Name] = true
			}
			for _, m := range typ.Methods {
				names[typ.Name+"."+m.Name] = true
			}
			s, isStruct := typ.Decl.Specs[0].(*ast.TypeSpec).Type.(*ast.StructType)
			for i := 0; isStruct && i < len(s.Fields.List); i++ {
				for _, field := range s.Fields.List[i].Names {
					names[typ.Name+"."+field.Name] = true
				}
			}
		}
	}
	return names
}

// What the page on migration names of ours is there.
func TestMigration(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root(t), "docs", "migration.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(b), "## Call by call")
	names := exported(t, filepath.Join(root(t), "session"))
	code := regexp.MustCompile("`[*]?(?:session\\.)?([A-Z]\\w+(?:\\.[A-Z]\\w+)?)`")
	checked := 0
	for line := range strings.Lines(table) {
		columns := strings.Split(line, " | ")
		if len(columns) != 3 {
			continue
		}
		for _, m := range code.FindAllStringSubmatch(columns[2], -1) {
			checked++
			if !names[m[1]] {
				t.Errorf("package session has no %s", m[1])
			}
		}
	}
	if checked < 60 {
		t.Errorf("only %d names in the table", checked)
	}
}
