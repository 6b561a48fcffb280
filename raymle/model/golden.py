from raymle.model.bundle import Bundle


def check(bundle: Bundle) -> None:
    pass
