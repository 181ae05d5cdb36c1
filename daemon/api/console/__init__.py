"""The web console: pages for browsers that have logged in.

Each module has the views of one group of pages. A view reads values and passes them to a template
in `templates/`, which has all HTML. Views and templates contain no rule of the domain: what a
command may do is decided by the campaign service, and words come from `daemon.domain`. Every page
works without JavaScript. `static/console.js` makes pages quicker, and changes nothing else.
"""
