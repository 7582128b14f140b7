"""An OpenAI-compatible door to the living image: every chat front end can hand it tasks. docs/door.md."""
