"""The page is one file that needs no other, readable in light and dark, and safe from the values it is given."""

from __future__ import annotations

import re

from markupsafe import Markup

from aasp.report import style
from aasp.report.templates import _environment

PAGE = """{% extends "report/page.html" %}
{% from "report/macros.html" import panels %}
{% block lead %}{{ lead }}{% endblock %}
{% block answers %}<p class="answer">{{ answer }}</p>{% endblock %}
{% block sections %}
<section><h2>Scores</h2><p>Of <b>all</b>.</p><figure>{{ panels(["<x>"], layout="table") }}</figure></section>
<section><h2>More</h2><figure>{{ panels(figures) }}<figcaption>How to read it.</figcaption></figure></section>
{% endblock %}"""


def made(**changes: str) -> str:
    words = {"eyebrow": "aasp demo", "title": "What & why", "lead": "Is 1 < 2?", "answer": "It < is."} | changes
    figures = [Markup("<svg></svg>")] * 2
    return _environment().from_string(PAGE).render(words, figures=figures, facts={"Seed": "<0>"})


def test_nothing_is_loaded_from_elsewhere():
    html = made()
    assert not re.search(r"<(script|link|img|iframe)|@import|https?:|//[a-z]|url\((?!#)", html)


def test_values_are_escaped_and_figures_are_not():
    html = made(title="a <script>", eyebrow="<i>", lead="<img>")
    assert "a &lt;script&gt;" in html and "&lt;i&gt;" in html and "&lt;img&gt;" in html
    assert "<script>" not in html and '<p class="answer">It &lt; is.</p>' in html


def test_it_works_on_phones_and_with_screen_readers():
    html = made()
    assert '<html lang="en">' in html and 'name="viewport" content="width=device-width' in html
    assert html.count("<h1>") == 1 and re.findall(r"<h2>(.*?)</h2>", html) == ["Scores", "More"]
    assert html.count("<svg></svg>") == 2 and "<div>&lt;x&gt;</div>" in html and "<dd>&lt;0&gt;</dd>" in html
    assert html.count("<figure>") == 2 and html.count("<figcaption>") == 1


def test_every_colour_is_defined_for_light_and_for_dark():
    light, dark = re.findall(r":root \{(.*?)\}", made(), flags=re.S)
    for variable in style.VARIABLES.values():
        assert f"{variable}:" in light and f"{variable}:" in dark
    used = set(re.findall(r"var\((--[a-z0-9-]+)\)", made()))
    set_in_table = {"--low", "--high", "--at", "--chance", "--tone"}
    assert used - set_in_table <= set(re.findall(r"(--[a-z0-9-]+):", light))
