package config

import (
	"errors"

	"github.com/seed31b3bfd0/slimgo/internal/auth/rules"
)

// LoadRules reads a file of rules for names (P-rule-9) and compiles it. References to the environment are not replaced there:
// ${sub} is a variable of its own. faults are all that is wrong, in file order; the Set is nil then.
func LoadRules(path string) (set *rules.Set, faults []Reason) {
	b, err := readFile(path)
	if err != nil {
		return nil, []Reason{{File: path, Text: ioText(err)}}
	}
	return parseRules(path, b)
}

// parseRules is LoadRules behind the file system.
func parseRules(path string, b []byte) (*rules.Set, []Reason) {
	d := &decoder{file: path, context: contextLoad, collect: true, many: true}
	root := d.tree(b)
	var src rules.Source
	if !d.broken {
		src = d.rules(root)
	}
	if faults := d.faults(); len(faults) > 0 {
		return nil, faults
	}
	set, err := rules.Compile(&src)
	if err == nil {
		return set, nil
	}
	var all rules.Faults
	_ = errors.As(err, &all) // Compile says so
	var faults []Reason
	for _, f := range all {
		faults = append(faults, Reason{File: path, Position: Position{f.Place.Line, f.Place.Column}, Text: f.Text})
	}
	return nil, faults
}

func (d *decoder) rules(n *node) (src rules.Source) {
	o := d.object(n, "", "mapping", strict)
	decision := "deny"
	o.enum("default", &decision, "deny", "allow")
	src.Allow = decision == "allow"
	o.bool("dialed", &src.Dialed)
	o.required("rules")
	if v := n.get("rules"); v != nil && v.kind == nullKind { // as at the end of a file that is only half written
		d.bad(v, "rules", "`rules` is neither there nor absent: write [] for no rules")
	}
	for i, v := range o.list("rules") {
		src.Rules = append(src.Rules, d.rule(v, indexed("rules", i)))
	}
	o.end()
	return src
}

func (d *decoder) rule(n *node, path string) rules.Rule {
	r := rules.Rule{Place: d.place(n)}
	o := d.object(n, path, "mapping", strict)
	if v := o.get("who"); v != nil {
		r.Who = d.who(v, join(path, "who"))
	}
	r.Claim = o.ruleList("claim")
	r.Subscribe = o.ruleList("subscribe")
	r.Publish = o.ruleList("publish")
	r.Source = o.ruleList("source")
	o.end()
	return r
}

func (d *decoder) who(n *node, path string) (w rules.Who) {
	o := d.object(n, path, "mapping", strict)
	if n.kind == nullKind || n.kind == mapKind && len(n.entries) == 0 {
		d.bad(n, path, "it says nothing: without `who` a rule is for everybody")
	}
	if v := o.get("mechanism"); v != nil {
		w.Mechanisms = d.oneOrMore(v, join(path, "mechanism"))
	}
	for _, f := range []struct {
		key string
		to  *rules.Text
	}{{"issuer", &w.Issuer}, {"subject", &w.Subject}} {
		if v := o.get(f.key); v != nil {
			at := join(path, f.key)
			if *f.to = d.ruleText(v, at); f.to.Text == "" {
				d.bad(v, at, "it is empty, and nobody is: * is any that is not")
			}
		}
	}
	if v := o.get("claims"); v != nil {
		at := join(path, "claims")
		switch {
		case v.kind != mapKind:
			d.mistyped(v, at, "a map")
		case len(v.entries) == 0:
			d.bad(v, at, "the map is empty, and nobody is meant by it: leave the key out for anybody")
		}
		for _, e := range v.entries {
			w.Claims = append(w.Claims, rules.Claim{Path: d.ruleText(e.key, at), Values: d.oneOrMore(e.val, join(at, e.key.str))})
		}
	}
	o.end()
	return w
}

// ruleList reads a list that may be absent, which is not the same as empty.
func (o *object) ruleList(key string) *rules.List {
	v := o.get(key)
	if v == nil {
		return nil
	}
	path := join(o.path, key)
	if v.kind == nullKind {
		o.d.bad(v, path, "it is neither there nor absent: write [] to allow nothing, or leave the key out")
	}
	l := &rules.List{}
	for i, item := range o.list(key) {
		l.Texts = append(l.Texts, o.d.ruleText(item, indexed(path, i)))
	}
	return l
}

// oneOrMore reads a text or a list of texts.
func (d *decoder) oneOrMore(n *node, path string) (out []rules.Text) {
	if n.kind != listKind {
		return []rules.Text{d.ruleText(n, path)}
	}
	if len(n.items) == 0 {
		d.bad(n, path, "the list is empty, and nobody is meant by it: leave the key out for anybody")
	}
	for i, item := range n.items {
		out = append(out, d.ruleText(item, indexed(path, i)))
	}
	return out
}

// ruleText reads a text; a number or boolean is the text that a claim of that value is compared as.
func (d *decoder) ruleText(n *node, path string) rules.Text {
	t := rules.Text{Text: n.str, Place: d.place(n)}
	switch {
	case n.kind == boolKind && n.bool:
		t.Text = "true"
	case n.kind == boolKind:
		t.Text = "false"
	case n.kind == intKind:
		t.Text = n.number()
	case n.kind != stringKind:
		d.mistyped(n, path, "a string")
	}
	return t
}

func (d *decoder) place(n *node) rules.Place {
	return rules.Place{File: d.file, Line: n.pos.Line, Column: n.pos.Column}
}
