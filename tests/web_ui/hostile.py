"""What a model or a person might write to hide or forge a part of a page."""

HOSTILE = (
    "<script>document.body.remove()</script></code></pre></div><h1>Nothing to decide</h1> {workflowId} "
    "{namespace} $x^2$ a -- b | c | `code` **bold** [click](https://example.org) "
    "![i](https://example.org/i.png) &lt;\n\n# heading\n\n- item\n<!-- <style>*{display:none}</style> <table>"
)
