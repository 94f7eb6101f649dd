"""The page of an evaluation: one HTML file that needs no server and no network.

Use `write_page` to show what an evaluation measured to people. The measuring itself is in `heads.evidence`;
nothing is measured here but where the images lie on the map.
"""

from heads.page.writer import write_page

__all__ = ["write_page"]
